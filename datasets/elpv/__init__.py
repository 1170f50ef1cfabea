"""ELPV: electroluminescence photographs of solar cells, with image labels."""
