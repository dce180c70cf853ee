"""A run goes on with the engine with which it began, wherever it goes on."""

from __future__ import annotations

from dataclasses import replace

from cxr_explain.audit.place import Place
from cxr_explain.audit.record import Record
from cxr_explain.audit.store import RECORD, record_in
from cxr_explain.errors import AuditError, MissingExtraError, ModelError
from cxr_explain.explaining.explainer import Explainer, Pretrained


def on_engine_of_run(place: Place, explainer: Explainer) -> Explainer:
    """The explainer; where it was free to take any engine, on that of the run that a folder holds.

    What `auto` takes depends on what is installed, and may be another engine on another machine.

    Args:
        place: the run's folder.
        explainer: the model.

    Raises:
        AuditError: that engine is not installed here, or does not run the model; or no record of an audit.
    """
    if not explainer.chose_its_engine or not place.exists(RECORD):
        return explainer
    began = record_in(place).map_settings.engine
    if began == explainer.settings.engine:
        return explainer
    try:
        return explainer.on_engine(began)
    except (MissingExtraError, ModelError) as error:
        is_missing = isinstance(error, MissingExtraError)
        raise AuditError(
            f"an audit that began with the engine {began}, which cannot go on here: {error.found}",
            expected=f"the engine {began}, as results of two engines are not mixed",
            remedy=f"{error.remedy if is_missing else 'Compute with --device cpu.'} Or choose another --out.",
            source=place.name,
        ) from error


def for_workers(pretrained: Pretrained, record: Record) -> Pretrained:
    """How a worker comes to the explainer of an audit: with engine and precision of the record."""
    maps = record.map_settings
    return replace(pretrained, options={**pretrained.options, "engine": maps.engine, "dtype": maps.dtype})
