"""Implicit steps: equations y = b + weight * f(y), solved per sample, differentiated implicitly, always with a verdict.

``settings`` needs no torch; everything else is imported from its module: `stabzoo.implicit.step.ImplicitStep` (the
block of a network), `stabzoo.implicit.solve.solve` (the equation alone),
`stabzoo.implicit.differentiable.implicit_solution` (the equation as a differentiable function),
`stabzoo.implicit.step.solver_report` (what the solves of a model did), `stabzoo.diagnostics.wellposed.well_posedness`
(what is proved of its equations), and `stabzoo.implicit.regularizers` (what keeps them solvable in training).
"""
