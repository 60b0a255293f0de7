"""docker/kubernetes: valid by Kubernetes' own schemas, with the commands and variables of compose.yml, which run."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.docker.containers import DOCKER, read_compose, read_env_file, words

FOLDER = DOCKER / "kubernetes"
OLDEST, NEWEST = "1.30.0", "1.37.0"
HELD_SECONDS = 10  # the longest HOLD_SECONDS that docs/agents.md allows


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(FOLDER.glob("*.yaml")):
        if file.name != "kustomization.yaml":
            yield from ((file.name, document) for document in yaml.safe_load_all(file.read_text()))


ALL = list(documents())
BY_KIND = {(document["kind"], document["metadata"]["name"]): document for _, document in ALL}
ROLES = sorted(name for kind, name in BY_KIND if kind == "Deployment")
COMPOSE = read_compose()["services"]


def pod(role: str) -> dict[str, Any]:
    found: dict[str, Any] = BY_KIND["Deployment", role]["spec"]["template"]["spec"]
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for (kind, name), document in BY_KIND.items():
        if kind in ("Deployment", "Job"):
            yield name, document["spec"]["template"]["spec"]


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_document_is_valid(version: str) -> None:
    for name, document in ALL:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name}, {document['kind']} {document['metadata']['name']}: {error}")


def test_every_file_is_a_resource_and_every_resource_a_file() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())

    assert sorted([*kustomization["resources"], "kustomization.yaml"]) == sorted(
        path.name for path in FOLDER.glob("*.yaml")
    )
    given = [
        file for generator in kustomization["configMapGenerator"] for files in generator.values() for file in files
    ]
    assert all((FOLDER / file).is_file() for file in given if re.search(r"\.(env|sql)$", file))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
def test_kustomize_builds_it() -> None:
    command = ["kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(FOLDER)]

    built = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    found = list(yaml.safe_load_all(built))
    assert len(found) == len(ALL) + 2
    assert all(each["metadata"]["namespace"] == "fleet" for each in found)
    assert "image: fleet-live-queries\n" not in built


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_started_as_compose_starts_it(role: str) -> None:
    """What compose.yml says is run by tests/docker/test_containers.py."""
    container, theirs = pod(role)["containers"][0], COMPOSE[role]
    settings = read_env_file(FOLDER / "settings.env")
    changed = {"TRUSTED_PROXIES"}

    ours = settings | variables(container)
    wanted = read_env_file(DOCKER / theirs["env_file"]) | theirs["environment"]
    assert container["command"] == words(theirs["command"])
    assert {name: ours[name] for name in ours.keys() - changed} == {
        name: wanted[name] for name in wanted.keys() - changed
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} - {"/run/secrets"} == {
        *theirs["tmpfs"],
        *(volume.split(":")[1] for volume in theirs["volumes"] if role != "beat"),
    }
    assert secrets_of(pod(role)) == set(theirs["secrets"])


def test_no_role_of_compose_is_missing() -> None:
    ours = {name for name, service in COMPOSE.items() if service["image"] == "fleet-live-queries"}

    assert set(ROLES) == ours - {"migrate"}


def test_the_job_does_what_compose_does_first() -> None:
    job = BY_KIND["Job", "migrate"]["spec"]["template"]["spec"]
    first, then = job["initContainers"][0], job["containers"][0]

    assert first["command"] == words(COMPOSE["migrate"]["command"])
    assert then["command"] == words(COMPOSE["gateway-role"]["command"])
    assert then["image"] == COMPOSE["gateway-role"]["image"]


def secrets_of(spec: dict[str, Any]) -> set[str]:
    volume = next(volume for volume in spec["volumes"] if "secret" in volume)
    return {item["key"] for item in volume["secret"]["items"]}


def test_every_pod_is_confined() -> None:
    for name, spec in pods():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name


def test_every_role_is_probed_as_compose_does() -> None:
    for role in ROLES:
        container = pod(role)["containers"][0]
        asked = COMPOSE[role]["healthcheck"]["test"][1:]
        if role in ("gateway", "console"):
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert container[probe]["httpGet"] == {"path": "/livez", "port": "http"}
            assert asked[-1].endswith(":8000/livez")
        else:
            assert container["livenessProbe"]["exec"]["command"] == asked


def test_held_reads_have_time_to_end() -> None:
    """The pause before it is told to stop, then a held read at its longest, then what is under way."""
    container = pod("gateway")["containers"][0]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])

    assert pod("gateway")["terminationGracePeriodSeconds"] >= pause + HELD_SECONDS + 10
    for role in ROLES:
        mine = int(COMPOSE[role]["stop_grace_period"].removesuffix("s"))
        assert pod(role)["terminationGracePeriodSeconds"] >= min(mine, 30), role


def test_whoever_has_copies_has_a_budget() -> None:
    with_copies = {role for role in ROLES if BY_KIND["Deployment", role]["spec"].get("replicas") != 1}

    assert {name for kind, name in BY_KIND if kind == "PodDisruptionBudget"} == with_copies
    for role in with_copies:
        assert BY_KIND["PodDisruptionBudget", role]["spec"]["selector"]["matchLabels"] == {"role": role}


def test_gateways_grow_by_a_figure_that_they_show() -> None:
    scaler = BY_KIND["HorizontalPodAutoscaler", "gateway"]["spec"]
    metric = scaler["metrics"][0]["pods"]["metric"]["name"]

    shown = (DOCKER.parent / "agents/gateway/figures.py").read_text()
    assert f'"{metric}"' in shown
    assert scaler["minReplicas"] >= 2
    assert "replicas" not in BY_KIND["Deployment", "gateway"]["spec"], "each apply would undo what was scaled"


def test_only_the_edge_and_monitors_come_in_and_nothing_is_named_that_is_not_there() -> None:
    policies = [document["spec"] for (kind, _), document in BY_KIND.items() if kind == "NetworkPolicy"]
    ports = {port["name"] for _, spec in pods() for each in spec["containers"] for port in each.get("ports", [])}
    labelled = set(ROLES)

    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    for policy in policies:
        chosen = policy["podSelector"].get("matchExpressions", [])
        assert {value for each in chosen for value in each["values"]} <= labelled
        for rule in policy.get("ingress", []):
            assert rule["from"], "from anywhere"
            assert {port["port"] for port in rule["ports"]} <= ports


def test_what_is_referred_to_is_there() -> None:
    claims = {name for kind, name in BY_KIND if kind == "PersistentVolumeClaim"}
    services = {name for kind, name in BY_KIND if kind == "Service"}
    made = {line.strip() for line in re.findall(r"[a-z_]+", (DOCKER / "make-secrets").read_text())}

    for _, spec in pods():
        assert {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in spec["volumes"]
            if "persistentVolumeClaim" in volume
        } <= claims
        assert secrets_of(spec) <= made
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= {
                volume["name"] for volume in spec["volumes"]
            }
    paths = BY_KIND["Ingress", "fleet"]["spec"]["rules"][0]["http"]["paths"]
    assert {path["backend"]["service"]["name"] for path in paths} <= services
    assert json.dumps(paths).count("osquery") == 2


def test_no_file_holds_a_secret() -> None:
    for file in Path(FOLDER).iterdir():
        assert "kind: Secret" not in file.read_text(), file.name


def test_every_folder_that_a_variable_names_is_mounted() -> None:
    lost = []

    for name, spec in pods():
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            mounted = [each["mountPath"] for each in container.get("volumeMounts", [])]
            named = [value for value in variables(container).values() if value.startswith("/")]
            lost += [f"{name}, {container['name']}: {value}" for value in named if not value.startswith(tuple(mounted))]

    assert lost == []
