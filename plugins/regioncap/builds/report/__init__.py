"""What a person sees of a build: its figures, the page that shows them, and the dataset card."""
