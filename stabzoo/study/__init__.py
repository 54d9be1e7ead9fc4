"""Studies: networks trained alike, compared under the same evaluations, and reported with what is proved of them.

study = load_study("quickstart")
result = run_study(study, Path("runs/quickstart"), workers=2)
"""

from stabzoo.study.execution.driver import StudyResult, run_study
from stabzoo.study.report.report import Report
from stabzoo.study.spec import Study, load_study, shipped_studies

__all__ = ["Report", "Study", "StudyResult", "load_study", "run_study", "shipped_studies"]
