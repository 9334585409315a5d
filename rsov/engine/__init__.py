"""How work is cut up and run: plan, tiles, blending, pipeline, backends."""
