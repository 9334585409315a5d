"""The model that rsov ships: network, weights file, card."""
