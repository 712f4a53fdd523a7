"""What gcx cannot answer: one line on stderr, exit 2, nothing on stdout, nothing written, no traceback."""

import re

import numpy as np
import pytest

from gcx.cli.app import run


def refused(capfdbinary, arguments, *, says):
    code = run([str(argument) for argument in arguments])
    out, err = (stream.decode() for stream in capfdbinary.readouterr())
    assert code == 2, err
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert re.search(says, err), err
    return err


def files(folder):
    (folder / "folder").mkdir()
    (folder / "empty.pt").write_bytes(b"")
    (folder / "text.pt").write_text("hello, I am a text file\n" * 20)
    (folder / "page.pt").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (folder / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    return folder


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.pt", "missing.pt: no such file"),
        ("folder", "is a directory"),
        ("empty.pt", "empty.pt: is empty"),
        ("text.pt", "text"),
        ("page.pt", "HTML"),
        ("lfs.pt", "(?i)git.lfs"),
        ("nul\0name.pt", "is not a file name"),
    ],
)
@pytest.mark.parametrize("command", ["correlate", "layers"])
def test_files_that_are_no_checkpoints(capfdbinary, tmp_path, command, name, says):
    refused(capfdbinary, [command, str(files(tmp_path)) + "/" + name], says=says)


@pytest.mark.parametrize("keep", [10, 100, 0.5, 0.99])
def test_truncated_zip(capfdbinary, tmp_path, torch_file, keep):
    content = torch_file.read_bytes()
    cut = tmp_path / "cut.pt"
    cut.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    refused(capfdbinary, ["correlate", cut], says="cut.pt: ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--include", "stam*"], r"--include 'stam\*' matches no layer; did you mean 'stem.0'"),
        (["--exclude", "zzz"], "--exclude 'zzz' matches no layer"),
        (["--groups", "zzz=2"], "--groups 'zzz=2' matches no layer"),
        (["--groups", "grouped.0=5"], "5"),
        (["--groups", "grouped.0"], "has no GLOB=N"),
        (["--groups", "grouped.0=two"], "'two' is not a positive whole number"),
        (["--groups", "grouped.0=0"], "'0' is not a positive whole number"),
        (["--groups", "=4"], "has no GLOB=N"),
        (["--sort", "colour"], "cannot sort by 'colour'"),
        (["--format", "word"], "there is no format 'word'"),
        (["--export", "out.docx"], "suffix '.docx'"),
        (["--export", "no/such/folder/out.json"], "its folder does not exist"),
        (["--measure", "spearman"], "spearman"),
        (["--virtual-groups", "1"], "virtual-groups"),
        (["--seed", "-1"], "seed"),
        (["--no-such-option"], "(?i)no such option"),
        (["--weights", "ema"], "(?i)ema|moving average"),
    ],
)
def test_options_that_cannot_be_meant(capfdbinary, torch_file, tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    refused(capfdbinary, ["correlate", torch_file, *options], says=says)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["correlate"], ["frobnicate"], ["explain", "no-such-key"], ["layers"]])
def test_commands_that_cannot_be_meant(capfdbinary, arguments):
    refused(capfdbinary, arguments, says="")


def test_one_bad_model_of_two_writes_nothing(capfdbinary, torch_file, tmp_path):
    target = tmp_path / "out.json"
    refused(capfdbinary, ["correlate", torch_file, tmp_path / "gone.pt", "-o", target], says="gone.pt")
    assert not target.exists()


def test_a_name_cannot_write_to_the_terminal(capfdbinary, tmp_path):
    err = refused(
        capfdbinary, ["correlate", tmp_path / "a\x1b[31m\nb\u202e.pt"], says=r"\\x1b\[31m\\nb|\\x1b\[31m\\x0ab"
    )
    assert "\x1b" not in err
    assert "\u202e" not in err


def test_debug_shows_the_traceback(capfdbinary, tmp_path):
    assert run(["correlate", str(tmp_path / "gone.pt"), "--debug"]) == 2
    err = capfdbinary.readouterr().err.decode()
    assert "Traceback" in err
    assert err.rstrip().splitlines()[-1].startswith("error: ")


def test_a_bug_is_not_a_crossed_gate(capfdbinary, torch_file, monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("gcx.pipeline.assemble", broken)
    refused(capfdbinary, ["correlate", torch_file], says="internal error: ZeroDivisionError: boom; please report")


def test_out_of_memory_is_one_line(capfdbinary, torch_file, monkeypatch):
    def hungry(*_args, **_kwargs):
        raise MemoryError

    monkeypatch.setattr("gcx.measures.measure_layer", hungry)
    refused(capfdbinary, ["correlate", torch_file], says="out of memory")


@pytest.mark.parametrize("command", ["correlate", "compare", "track", "filters"])
@pytest.mark.parametrize("written", ["net.pt", "./net.pt", "link.pt"])
def test_what_is_read_is_not_overwritten(capfdbinary, tmp_path, monkeypatch, torch_file, command, written):
    monkeypatch.chdir(tmp_path)
    content = torch_file.read_bytes()
    for name in ("net.pt", "other.pt"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link.pt").symlink_to("net.pt")
    given = {"compare": ["net.pt", "other.pt"], "track": ["*t.pt", "other.pt"], "filters": ["net.pt", "stem.0"]}
    suffixed = tmp_path / "net.png"
    if command == "filters":  # it writes pictures only
        suffixed.write_bytes(content)
        given["filters"], written = ["net.png", "stem.0"], "./net.png"
    refused(capfdbinary, [command, *given.get(command, ["other.pt", "net.pt"]), "-o", written], says="is read by this")
    assert (tmp_path / "net.pt").read_bytes() == content


def test_a_baseline_is_not_overwritten_and_holds_all_layers(capfdbinary, tmp_path, torch_file):
    base, short = tmp_path / "base.json", tmp_path / "short.json"
    assert run(["correlate", str(torch_file), "-o", str(base)]) == 0
    assert run(["correlate", str(torch_file), "--top", "1", "-o", str(short)]) == 0
    capfdbinary.readouterr()
    content = base.read_bytes()
    refused(capfdbinary, ["compare", base, torch_file, "-o", base], says="base.json: is read by this command")
    assert base.read_bytes() == content
    refused(capfdbinary, ["compare", short, torch_file], says="holds some of its layers only; save it again without")


def test_a_role_means_nothing_along_training(capfdbinary, torch_file, tmp_path):
    (tmp_path / "b.pt").write_bytes(torch_file.read_bytes())
    refused(
        capfdbinary,
        ["track", torch_file, tmp_path / "b.pt", "--groups", "reference:stem.0=1"],
        says="--groups 'reference:stem.0=1' matches no layer",
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["correlate", ""], "error: '': no such file"),
        (["correlate", "net.pt", "-o", ""], "error: '': is no file name"),
        (["filters", "net.pt", "stem.0", "-o", "folder/"], "error: folder/: filters are drawn as .png, not 'folder/'"),
    ],
)
def test_an_empty_name_is_seen_in_the_message(capfdbinary, tmp_path, monkeypatch, torch_file, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pt").write_bytes(torch_file.read_bytes())
    refused(capfdbinary, arguments, says=re.escape(says))


def test_what_a_checkpoint_keeps_beside_it_is_not_overwritten(capfdbinary, tmp_path):
    import json

    import onnx
    from safetensors.numpy import save_file

    weight = np.random.default_rng(0).normal(size=(8, 4, 3, 3)).astype(np.float32)
    helper = onnx.helper
    node = helper.make_node("Conv", ["x", "c.weight"], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(weight, "c.weight")],
    )
    onnx.save_model(
        helper.make_model(graph),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="data.json",
        size_threshold=0,
    )
    save_file({"c.weight": weight}, tmp_path / "one.safetensors")
    (tmp_path / "one.safetensors").rename(tmp_path / "part.json")
    index = {"weight_map": {"c.weight": "part.json"}}
    (tmp_path / "net.safetensors.index.json").write_text(json.dumps(index))
    for model, beside in (("net.onnx", "data.json"), ("net.safetensors.index.json", "part.json")):
        content = (tmp_path / beside).read_bytes()
        refused(capfdbinary, ["correlate", tmp_path / model, "-o", tmp_path / beside], says="is read by this command")
        assert (tmp_path / beside).read_bytes() == content
