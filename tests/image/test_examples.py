"""The examples with containers: they parse, use the image as it is, and open no port to other machines."""

import json
from pathlib import Path

import pytest

import intact
from support.modules import load

yaml = pytest.importorskip("yaml")
FOLDER = Path(__file__).parents[2] / "examples" / "container"


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((FOLDER / "compose.yml").read_text())["services"]


@pytest.fixture(scope="module")
def settings():
    load("scripts/image.py")  # puts the scripts on the path
    from oci_image import settings

    return settings


def test_the_service_is_this_versions_image_without_rights_and_open_to_this_machine_only(services, settings):
    service = services["intact"]
    assert service["image"] == f"intact:{intact.__version__}"
    assert service["ports"] == [f"127.0.0.1:{settings.PORT}:{settings.PORT}"]
    assert service["read_only"] is True
    assert settings.ENVIRONMENT["XDG_RUNTIME_DIR"] in service["tmpfs"]
    assert service["cap_drop"] == ["ALL"]


def test_the_program_waits_until_the_server_is_healthy_and_asks_it_by_a_name_that_is_allowed(services):
    program = services["program"]
    assert program["depends_on"] == {"intact": {"condition": "service_healthy"}}
    names = load("image/ollama.py").NAMES
    assert program["environment"]["OLLAMA_HOST"].partition(":")[0] in names
    assert program["environment"]["OPENAI_BASE_URL"] == "http://intact:11434/v1"


def test_the_devcontainer_names_files_and_services_that_exist(services):
    folder = FOLDER / ".devcontainer"
    container = json.loads((folder / "devcontainer.json").read_text())
    files = [folder / name for name in container["dockerComposeFile"]]
    assert files[0].resolve() == FOLDER / "compose.yml"
    changed = yaml.safe_load(files[1].read_text())["services"]
    assert container["service"] in services
    assert changed.keys() == {container["service"]}
    assert changed[container["service"]]["volumes"][0].endswith(":" + container["workspaceFolder"])
