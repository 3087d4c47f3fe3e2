"""docs/kubernetes: valid by the schemas, and right by what Voxpop wants of a pod."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from core.config import Config
from core.service import keysfile
from core.service.files import load_config
from tests.kubernetes import manifests
from tests.kubernetes.containerfile import CONTAINERFILE, parse
from tests.kubernetes.manifests import BASES, FOLDER, KUSTOMIZATION, container, kustomization, one, pod
from tests.paths import ROOT, TESTS
from tests.transceiver.descriptions import CHROMIUM
from tests.transceiver.host_kit import TIMEOUT_S, Host
from transceiver.signaling.apikeys import create_api_key

VERSIONS = ("1.33", "1.37")
"""The oldest that is still looked after somewhere, and the newest that there are schemas of."""
GATEWAY_API = "gateway.networking.k8s.io/v1"
SAY_GOODBYE_S = 30
"""What is left of the grace when the time of the drain is over, at least."""
OBJECTS = [
    pytest.param(each, id=f"{base}-{each['kind']}") for base in BASES for each in manifests.objects(base)
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("each", OBJECTS)
def test_every_object_is_valid(each: dict[str, Any], version: str) -> None:
    if each["apiVersion"] == GATEWAY_API:
        schema = TESTS / "data" / "gateway-api" / f"{each['kind'].lower()}.v1.json"
        jsonschema.validate(each, json.loads(schema.read_text()))
    else:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_validator_refuses_what_is_wrong() -> None:
    wrong = one("transceiver", "Deployment")
    wrong["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)
    route = one("relay", "UDPRoute")
    route["spec"]["hostnames"] = ["voice.example"]
    schema = TESTS / "data" / "gateway-api" / "udproute.v1.json"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(route, json.loads(schema.read_text()))


@pytest.mark.parametrize("base", BASES)
def test_a_base_has_every_file_of_its_folder_and_no_other(base: str) -> None:
    made_of = kustomization(base)
    generated = [name for each in made_of["configMapGenerator"] for name in each["files"]]
    listed = [*made_of["resources"], *generated, KUSTOMIZATION]
    assert sorted(listed) == sorted(path.name for path in (FOLDER / base).iterdir())


@pytest.mark.parametrize("base", BASES)
def test_what_a_pod_mounts_is_there_and_what_it_runs_is_the_image(base: str) -> None:
    spec, made_of = pod(base), kustomization(base)
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    containers = [*spec.get("initContainers", ()), *spec["containers"]]
    for each in containers:
        assert each["image"] == made_of["images"][0]["name"]
        assert {mount["name"] for mount in each["volumeMounts"]} <= volumes.keys()
        assert each["securityContext"]["readOnlyRootFilesystem"]
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    maps = {v["configMap"]["name"] for v in volumes.values() if "configMap" in v}
    assert maps == {each["name"] for each in made_of["configMapGenerator"]}
    user = parse(CONTAINERFILE.read_text())[-1].user
    security = spec["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert security["fsGroup"] == security["runAsGroup"], "or the secrets cannot be read"


def mounted(base: str, path: str) -> bool:
    """Whether a path of the configuration is in a volume of the pod's."""
    name = "transceiver" if base == "transceiver" else "relay"
    return any(Path(path).is_relative_to(m["mountPath"]) for m in container(base, name)["volumeMounts"])


def configured(base: str, folder: Path) -> Config:
    """The base's own configuration, checked as a pod would."""
    text = (FOLDER / base / "voxpop.toml").read_text().replace("NODE_ADDRESS", "192.0.2.77")
    secrets = tomllib.loads(text)
    keysfile.new(folder / "keys.toml")
    create_api_key(folder / "api-keys.toml", "pod")
    for table, key in (("token", "keys_file"), ("transceiver", "api_keys_file")):
        if (path := secrets.get(table, {}).get(key)) is not None:
            assert mounted(base, path)
            text = text.replace(path, str(folder / Path(path).name))
    (folder / "voxpop.toml").write_text(text)
    return load_config(folder / "voxpop.toml")


@pytest.mark.parametrize("base", BASES)
def test_the_configuration_passes_the_check_and_its_sockets_are_in_a_volume(
    base: str, tmp_path: Path
) -> None:
    config = configured(base, tmp_path)
    command = [sys.executable, "-m", "voxpop", "config", "check", str(tmp_path / "voxpop.toml")]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    own = config.transceiver if base == "transceiver" else config.relay
    assert own is not None
    assert own.admin_socket is not None
    assert mounted(base, own.admin_socket)
    assert parse(CONTAINERFILE.read_text())[-1].environment == {
        "RUNTIME_DIRECTORY": str(Path(own.admin_socket).parent)
    }


@pytest.mark.parametrize("base", BASES)
def test_the_grace_is_longer_than_the_drain_and_the_longest_call(base: str, tmp_path: Path) -> None:
    config = configured(base, tmp_path)
    own = config.transceiver if base == "transceiver" else config.relay
    assert own is not None
    assert pod(base)["terminationGracePeriodSeconds"] >= own.drain_timeout_s + SAY_GOODBYE_S
    if config.transceiver is not None:
        assert pod(base)["terminationGracePeriodSeconds"] == 3660
        assert config.transceiver.drain_timeout_s >= config.transceiver.max_session_s


def test_no_service_carries_media_to_a_transceiver_and_only_the_pops_may_send_it(tmp_path: Path) -> None:
    config = configured("transceiver", tmp_path)
    assert config.transceiver is not None
    for port in one("transceiver", "Service")["spec"]["ports"]:
        assert port.get("protocol", "TCP") == "TCP"
    assert "hostNetwork" not in pod("transceiver")
    assert all("hostPort" not in port for port in container("transceiver", "transceiver")["ports"])
    rules = one("transceiver", "NetworkPolicy")["spec"]["ingress"]
    (media,) = [(r["from"], p) for r in rules for p in r["ports"] if p["protocol"] == "UDP"]
    cluster = config.clusters[config.transceiver.cluster]
    assert (media[1]["port"], media[1]["endPort"]) == (cluster.port_first, cluster.port_last)
    assert [list(peer) for peer in media[0]] == [["ipBlock"]]


def test_pods_take_each_others_requests_at_the_port_that_they_are_passed_on_to(tmp_path: Path) -> None:
    config = configured("transceiver", tmp_path).transceiver
    assert config is not None
    assert not config.forward_port
    assert config.http.is_wildcard, "it listens at the pod's address"
    policy = one("transceiver", "NetworkPolicy")["spec"]
    ports = [{"protocol": "TCP", "port": config.http.port}]
    (peers,) = [rule["from"] for rule in policy["ingress"] if rule["ports"] == ports]
    assert {"podSelector": policy["podSelector"]} in peers


def test_a_pod_has_a_core_of_its_own_for_each_process(tmp_path: Path) -> None:
    config = configured("transceiver", tmp_path)
    assert config.transceiver is not None
    resources = container("transceiver", "transceiver")["resources"]
    assert resources["requests"] == resources["limits"], "else the static CPU manager gives it none"
    assert resources["limits"]["cpu"] == str(config.transceiver.processes)
    cluster = config.clusters[config.transceiver.cluster]
    assert cluster.port_last - cluster.port_first + 1 == config.transceiver.processes


def test_probes_ask_for_what_the_daemons_serve(tmp_path: Path) -> None:
    for base, name in (("transceiver", "transceiver"), ("relay", "relay")):
        each = container(base, name)
        ports = {port["name"]: port["containerPort"] for port in each["ports"]}
        (tmp_path / base).mkdir()
        config = configured(base, tmp_path / base)
        own = config.transceiver if base == "transceiver" else config.relay
        assert own is not None
        assert ports["metrics"] == own.metrics.port
        assert each["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
        assert each["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}


def test_the_pods_of_every_object_are_the_same_ones() -> None:
    labels = one("transceiver", "Deployment")["spec"]["selector"]["matchLabels"]
    assert one("transceiver", "Deployment")["spec"]["template"]["metadata"]["labels"] == labels
    assert one("transceiver", "Service")["spec"]["selector"] == labels
    assert one("transceiver", "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert one("transceiver", "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    target = one("transceiver", "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == one("transceiver", "Deployment")["metadata"]["name"]
    assert "replicas" not in one("transceiver", "Deployment")["spec"], "which are the autoscaler's"
    assert (
        one("relay", "Service")["spec"]["selector"]
        == one("relay", "DaemonSet")["spec"]["selector"]["matchLabels"]
    )


def test_the_route_leads_from_the_listener_to_the_relays() -> None:
    gateway, route, service = (one("relay", kind) for kind in ("Gateway", "UDPRoute", "Service"))
    (listener,) = gateway["spec"]["listeners"]
    assert route["spec"]["parentRefs"] == [
        {"name": gateway["metadata"]["name"], "sectionName": listener["name"]}
    ]
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    (port,) = service["spec"]["ports"]
    assert backend == {"name": service["metadata"]["name"], "port": port["port"]}
    (media,) = [p for p in container("relay", "relay")["ports"] if p["name"] == port["targetPort"]]
    assert {listener["protocol"], port["protocol"], media["protocol"]} == {"UDP"}


RULES_TEST = """\
rule_files: [RULES]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - series: 'voxpop_transceiver_sessions{namespace="v",pod="a",worker="0",state="connected"}'
        values: '50x4'
      - series: 'voxpop_transceiver_sessions{namespace="v",pod="a",worker="1",state="connected"}'
        values: '60x4'
      - series: 'voxpop_transceiver_sessions{namespace="v",pod="a",worker="1",state="new"}'
        values: '10x4'
      - series: 'voxpop_transceiver_worker_up{namespace="v",pod="a",worker="0"}'
        values: '1x4'
      - series: 'voxpop_transceiver_worker_up{namespace="v",pod="a",worker="1"}'
        values: '1x4'
      - series: 'voxpop_daemon_state{namespace="v",pod="a",state="ready"}'
        values: '1x4'
      - series: 'voxpop_transceiver_sessions{namespace="v",pod="drains",worker="0",state="connected"}'
        values: '90x4'
      - series: 'voxpop_transceiver_worker_up{namespace="v",pod="drains",worker="0"}'
        values: '1x4'
      - series: 'voxpop_daemon_state{namespace="v",pod="drains",state="ready"}'
        values: '0x4'
      - series: 'voxpop_daemon_state{namespace="v",pod="drains",state="draining"}'
        values: '1x4'
    promql_expr_test:
      - expr: METRIC
        eval_time: 1m
        exp_samples:
          - labels: 'METRIC{namespace="v",pod="a"}'
            value: 60
"""


def test_the_autoscalers_metric_leaves_out_pods_that_drain(tmp_path: Path) -> None:
    """Prometheus's own evaluation of the rule, and the name that the autoscaler asks for."""
    (metric,) = one("transceiver", "HorizontalPodAutoscaler")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    (adapter,) = manifests.load(FOLDER / "prometheus-adapter.yaml")
    assert adapter["rules"]["custom"][0]["seriesQuery"].startswith(name + "{")
    test = tmp_path / "test.yaml"
    test.write_text(RULES_TEST.replace("RULES", str(FOLDER / "rules.yaml")).replace("METRIC", name))
    done = subprocess.run(
        ["promtool", "test", "rules", str(test)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path) as started:
        yield started


@pytest.mark.slow
def test_the_pre_stop_hook_waits_for_the_last_call(host: Host) -> None:
    """The very command of the manifest, with the test's configuration in the place of the pod's."""
    hook = container("transceiver", "transceiver")["lifecycle"]["preStop"]["exec"]["command"]
    assert hook[0] == "voxpop"
    command = [sys.executable, "-m", "voxpop", *hook[1:]]
    command[command.index("/etc/voxpop/voxpop.toml")] = str(host.config)
    kept = host.call(CHROMIUM)
    host.wait_until(
        lambda: "1 calls" in host.verb("drain", "status", "--config", host.config).stdout, "known"
    )
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert "draining, 1 calls left" in waiting.stdout.readline()
        assert waiting.poll() is None
        assert host.request("DELETE", kept).status == 200
        assert waiting.wait(TIMEOUT_S) == 0


def test_every_file_is_yaml_that_means_the_same_to_everyone() -> None:
    """No key twice: the last one would win, without a word."""

    strict = type("Strict", (yaml.SafeLoader,), {})

    def mapping(loader: Any, node: Any) -> Any:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"{node.start_mark}: a key twice"
        return dict(loader.construct_pairs(node, deep=True))

    yaml.add_constructor("tag:yaml.org,2002:map", mapping, strict)
    files = sorted(FOLDER.rglob("*.yaml"))
    assert len(files) > len(BASES)
    for file in files:
        list(yaml.load_all(file.read_text(), strict))
