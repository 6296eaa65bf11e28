"""What travels with every checkpoint: all modules of this folder, save this one.

They import only torch, transformers, what transformers itself needs, and each other. What a model asks of the
installed package goes through `saving_lacl.package()`.
"""
