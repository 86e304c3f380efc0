"""How things look: colours, curves, slices, live viewers and surfaces in 3D."""
