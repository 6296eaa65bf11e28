"""The remote code of every checkpoint: all modules of this folder except this one.

They import only torch, transformers, the dependencies of transformers, and each other. Whatever a model needs
from the installed package goes through `saving_lacl.package()`.
"""
