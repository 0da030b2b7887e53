"""Predicting what serving costs where nothing was measured: roofline, learned residual, calibrated interval.

Enter at `serving.predict_serving`; the method is in docs/explanation/prediction.md.
"""
