"""The traced passes of a plan, with what is kept from one to the next."""

from __future__ import annotations

from typing import Any

import torch

from shiftcheck.errors import ShiftcheckError
from shiftcheck.lattice.layout import Layout
from shiftcheck.measuring.call import again, call
from shiftcheck.measuring.effort import charge
from shiftcheck.measuring.gaps.regions import Planner
from shiftcheck.measuring.model_errors import RaisedError, check_traced
from shiftcheck.measuring.plan import Plan
from shiftcheck.tracing.memo import Memo
from shiftcheck.tracing.precision import EPS as PRODUCT_EPS
from shiftcheck.tracing.precision import eps_of
from shiftcheck.tracing.restoring.state import Originals
from shiftcheck.tracing.traced import OnRow, Row, Traced


class Passes:
    """What rules answered and which samples are compared need not be found again.

    Of all passes so far: the ``dtypes`` of every tensor on the way, the coarser types of its
    ``products``, and how values left, if they did (``leak``).
    """

    def __init__(self, plan: Plan, originals: Originals) -> None:
        self.plan, self.originals = plan, originals
        self.dtypes: set[torch.dtype] = set()
        self.products: set[str] = set()
        self.leak = ""
        self._memo = Memo()
        self._planners: dict[Any, Planner] = {}

    def run(
        self, values: list[Any], on_row: OnRow, *, copies: int = 1, geometry: bool = True
    ) -> Traced:
        """One pass; what the model raises gets our sentence above it."""
        charge(values, share=self.plan.share)
        rows: list[Row] = []

        def seen(row: Row, tensor: torch.Tensor) -> frozenset[int] | Layout | None:
            rows.append(row)
            return on_row(row, tensor)

        try:
            traced = call(
                self.plan,
                values,
                copies=copies,
                originals=self.originals,
                on_row=seen,
                memo=self._memo,
                geometry=geometry,
            )
        except ShiftcheckError:
            raise
        except Exception as error:
            raise RaisedError(error, self.plan, rows) from error
        check_traced(traced, self.plan.layer, rows)
        self.leak = self.leak or traced.leak
        self.dtypes |= traced.dtypes
        self.products |= traced.products
        return traced

    def run_again(self, traced: Traced, values: list[Any]) -> list[torch.Tensor] | None:
        """The outputs on the way of a pass that was traced; None where the model takes another."""
        charge(values, passes=0, share=self.plan.share)
        try:
            return again(self.plan, values, traced, self.originals)
        except Exception:  # a pass with rules tells what it is
            return None

    def planner(self, layout: Layout, *, ends: bool = False) -> Planner:
        """The regions of a layout, kept as long as the same geometry comes again.

        ``ends``: it is an output, which has to move with the input.
        """
        dims = tuple(tuple((f.kind, f.size, f.axis) for f in dim) for dim in layout.dims)
        key = (dims, tuple(map(id, layout.axes)), ends)
        if key not in self._planners:
            self._planners[key] = Planner(layout, self.plan.scene, with_input=ends)
        return self._planners[key]

    @property
    def eps(self) -> float:
        """That of the coarsest type on the way, or of the input."""
        types = (*self.dtypes, self.plan.inputs.dtype)
        return max([*map(eps_of, types), *(PRODUCT_EPS[name] for name in self.products)])
