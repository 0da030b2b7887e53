"""Joules of a window of time: by a meter where there is one, else by a model of the CPU with its error band."""
