"""The bundled demo model: the world it knows, how it is trained, and how its captions are checked."""
