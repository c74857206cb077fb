"""PDB ids: fetched once from a server (here one on this machine), checked before they are kept, clear when it fails."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cryoembed.errors import InputError
from cryoembed.simulate.density.cache import cache_folder
from cryoembed.simulate.density.rcsb import fetch_pdb
from cryoembed.simulate.density.structure_spec import StructureSpec, expand
from cryoembed.simulate.density.structures import structure_template
from tests.simulate.density.proteins import protein


def entry(residues: int = 20) -> bytes:
    return gzip.compress(protein(residues).make_mmcif_document().as_string().encode())


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A mirror that answers what ``answers`` holds; and an empty cache."""
    answers: dict[str, bytes] = {}
    asked: list[str] = []

    class Mirror(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            name = self.path.rsplit("/", 1)[-1]
            if name not in answers:
                self.send_error(404)
                return
            content = answers[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if name.startswith("5cut"):
                self.wfile.write(content[: len(content) // 2])
            elif name.startswith("5slo"):
                try:
                    for byte in range(200):
                        self.wfile.write(content[byte : byte + 1])
                        self.wfile.flush()
                        time.sleep(0.05)
                except OSError:
                    pass
            elif name.startswith("5hng"):
                time.sleep(3)
            else:
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    running.answers, running.asked = answers, asked
    monkeypatch.setenv("CRYOEMBED_PDB_URL", f"http://127.0.0.1:{running.server_address[1]}/download")
    monkeypatch.setenv("CRYOEMBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield running
    running.shutdown()
    running.server_close()


def kept():
    folder = cache_folder() / "pdb"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_an_entry_is_fetched_once(server):
    server.answers["4ug0.cif.gz"] = entry()
    spec = StructureSpec(pdb="4UG0")
    assert server.asked == []  # not when it is parsed
    for _ in range(2):
        (single,) = expand(spec)
        assert (single.name, single.path.name) == ("4ug0", "4ug0.cif.gz")
    assert server.asked == ["/download/4ug0.cif.gz"]
    assert structure_template(single, 10.0).mass_kda == pytest.approx(20 * 71.08 / 1000, rel=0.02)
    assert kept() == ["4ug0.cif.gz"]


def test_a_known_species_brings_its_split(server):
    server.answers["4cr2.cif.gz"] = entry()
    (single,) = expand(StructureSpec(pdb="4cr2"))
    assert single.split == "test"


def test_an_unknown_id_is_said_to_be(server):
    with pytest.raises(InputError, match=r"pdb 9zzz: .*9zzz\.cif\.gz does not exist; check the id"):
        expand(StructureSpec(pdb="9zzz"))
    assert kept() == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("5cut", entry(), "broke after"),
        ("5gzp", entry()[:-200], "damaged"),
        ("5htm", b"<html>maintenance</html>", "damaged"),
        ("5txt", gzip.compress(b"<html>maintenance</html>"), "no mmCIF file"),
        ("5emp", gzip.compress(b"data_5emp\n_entry.id 5emp\n"), "holds no atoms"),
    ],
)
def test_damaged_answers_are_not_kept(server, name, content, message):
    server.answers[f"{name}.cif.gz"] = content
    with pytest.raises(InputError, match=message):
        expand(StructureSpec(pdb=name))
    assert kept() == []


@pytest.mark.parametrize("name", ["5slo", "5hng"])
def test_a_slow_server_is_given_up(server, name):
    server.answers[f"{name}.cif.gz"] = entry()
    with pytest.raises(InputError, match="can't reach 127.0.0.1"):
        fetch_pdb(name, timeout=0.2, patience=0.4)
    assert kept() == []


def test_without_a_network_the_message_says_what_to_do(server, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("CRYOEMBED_PDB_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(InputError, match=r"can't reach .*; download 4ug0\.cif\.gz elsewhere and give path:"):
            expand(StructureSpec(pdb="4ug0"))


def test_a_mirror_must_be_a_web_address(server, monkeypatch):
    monkeypatch.setenv("CRYOEMBED_PDB_URL", "file:///etc")
    with pytest.raises(InputError, match="http"):
        expand(StructureSpec(pdb="4ug0"))


def test_a_data_set_of_an_id_that_is_not_there_says_so(server, tmp_path):
    from cryoembed.simulate.dataset import DatasetConfig
    from cryoembed.simulate.folders import simulate_dataset

    config = DatasetConfig(models=1, shape=(16, 16, 16), structures=(StructureSpec(pdb="9zzz"),), counts=1)
    with pytest.raises(InputError, match="does not exist"):
        simulate_dataset(config, tmp_path / "out")
    assert not list((tmp_path / "out").glob("model_*"))
