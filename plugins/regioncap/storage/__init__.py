"""One seam over a local folder and an S3 bucket."""
