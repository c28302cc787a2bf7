"""bench/gpu/beside_torch.py, as far as a machine without a GPU allows: its table, which docs/cuda.md shows."""

from bench.gpu import beside_torch
from bench.gpu.layers import Layer


class TestBesideTorch:
    """The table of whole calls beside torch.nn, which docs/cuda.md shows."""

    @staticmethod
    def row(kernel, H, ms=None, teams=None):
        times = {name: {"ms": ms, "us a step": 1.0} for name in ("infer", "train")} if ms else {}
        sizes = {"cell": "LSTM", "dtype": "tf32", "T": 512, "B": 4, "I": H, "H": H}
        return {"kernel": kernel, "teams": teams, **sizes, **times}

    def test_a_row_for_each_size_with_how_many_times_as_fast(self):
        found = [self.row("torch", 64, 6.0), self.row("fastest", 64, 4.0, [[4, 8, 100], [2, 8, 100]])]
        *_, row = beside_torch.markdown(found).splitlines()
        assert row == "| LSTM | tf32 | 64 | 4 | 6.00 / 6.00 | 4.00 / 4.00 | 1.5 / 1.5 | 4 × 8 rows |"

    def test_what_no_team_fits_is_torchs_alone(self):
        *_, row = beside_torch.markdown([self.row("torch", 2048, 6.0), self.row("fastest", 2048)]).splitlines()
        assert row == "| LSTM | tf32 | 2048 | 4 | 6.00 / 6.00 | – | – | – |"

    def test_a_layer_without_a_team_is_not_measured(self, monkeypatch):
        monkeypatch.setattr(Layer, "team", lambda layer, device, backward=False: [])
        assert beside_torch.measure(Layer("fastest", "LSTM", "bfloat16", 4, 2, 3, 5)) == {"status": "no team"}
