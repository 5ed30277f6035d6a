"""Publishing a build: the commit, the builds that are kept, and what is unlike the days before."""
