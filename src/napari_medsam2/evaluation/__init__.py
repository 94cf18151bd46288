"""Evaluation: the published protocols on data with truth, and tables of what came of them.

Importing this package loads neither torch nor a plotting library.
"""
