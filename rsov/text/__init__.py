"""Words: legends and prompts, background vocabulary, sentence encoder, caches."""
