"""Scenarios and signals: which change of assumptions kills the margin. Enter at `solvent.choose.stress.run.stress`."""
