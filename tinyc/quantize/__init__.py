"""Post-training quantisation of float ONNX networks to int8: `post_training` does it, `options` holds the choices.

Nothing is imported here: compiling a quantised network shall not load the onnx package.
"""
