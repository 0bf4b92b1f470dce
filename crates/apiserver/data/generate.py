#!/usr/bin/env python3
"""Makes schema.json and protobuf.json for the kinds of resources.json.

    pip download --no-deps -d .cache/pip kubernetes-validate==1.37.0
    curl -sSL https://static.crates.io/crates/k8s-pb/k8s-pb-0.9.0.crate | tar xz -C .cache
    unzip -qo .cache/pip/kubernetes_validate-1.37.0-*.whl -d .cache/kubernetes-validate
    python3 crates/apiserver/data/generate.py .cache/kubernetes-validate .cache/k8s-pb-0.9.0

Both outputs are JSON objects with one definition a line, so that the server can index them by
lines and parse only what a request touches. Sources and licences: NOTICE in this folder.
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
RELEASE = "kubernetes_validate/kubernetes-json-schema/v1.37.0-local/_definitions.json"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
# Definitions that no resource refers to, but that requests or answers are made of.
EXTRA = [
    META + "DeleteOptions", META + "Status", META + "ObjectMeta", META + "ListMeta",
    "io.k8s.api.autoscaling.v1.Scale", "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.core.v1.Binding", "io.k8s.api.authentication.v1.TokenRequest",
]
# In this form the definitions carry no defaults; these are the ones that list keys rely on.
KEY_DEFAULTS = [("io.k8s.api.core.v1.ContainerPort", "protocol"),
                ("io.k8s.api.core.v1.ServicePort", "protocol")]
# Fields that are pointers in Go: a zero that is present in protobuf was set by the client. All
# other scalars are written always, so their zero means nothing.
POINTERS = set("""
replicas minReplicas revisionHistoryLimit progressDeadlineSeconds parallelism completions
backoffLimit backoffLimitPerIndex maxFailedIndexes activeDeadlineSeconds ttlSecondsAfterFinished
suspend manualSelector immutable optional runAsUser runAsNonRoot runAsGroup fsGroup privileged
readOnlyRootFilesystem allowPrivilegeEscalation automountServiceAccountToken enableServiceLinks
shareProcessNamespace setHostnameAsFQDN hostUsers terminationGracePeriodSeconds tolerationSeconds
priority gracePeriodSeconds orphanDependents deletionGracePeriodSeconds expirationSeconds
controller blockOwnerDeletion leaseDurationSeconds leaseTransitions allowVolumeExpansion
startingDeadlineSeconds successfulJobsHistoryLimit failedJobsHistoryLimit ready serving
terminating defaultMode mode allocateLoadBalancerNodePorts timeoutSeconds averageUtilization
stabilizationWindowSeconds partition minDomains podPidsLimit storageClassName
currentCPUUtilizationPercentage targetCPUUtilizationPercentage
""".split())
# Structs that Go embeds by value: an empty one means that the client set nothing.
VALUES = {"status", "resources", "strategy", "updateStrategy", "metadata", "source",
          "creationTimestamp", "lastTimestamp", "firstTimestamp", "eventTime", "lastProbeTime",
          "lastTransitionTime", "lastUpdateTime"}


def normal(schema):
    """JSON Schema 2020 with nullable types -> OpenAPI v3 as API servers publish it."""
    if isinstance(schema, list):
        return [normal(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, list):
            out["type"] = next(kind for kind in value if kind != "null")
        elif key == "$ref":
            target = value.replace("#/$defs/", "#/components/schemas/")
            if len(schema) == 1:
                out["$ref"] = target
            else:
                out["allOf"] = [{"$ref": target}]
        elif key == "properties":
            out[key] = {name: normal(child) for name, child in value.items()}
        else:
            out[key] = normal(value)
    return out


def definitions(root):
    raw = json.loads((root / RELEASE).read_text())["$defs"]
    wanted = {row["definition"] for row in json.loads((HERE / "resources.json").read_text())}
    queue, done = sorted(wanted) + EXTRA, {}
    while queue:
        name = queue.pop()
        if name in done:
            continue
        schema = normal(raw[name])
        for field in ("apiVersion", "kind"):
            schema.get("properties", {}).get(field, {}).pop("enum", None)
        done[name] = schema
        queue += re.findall(r"#/components/schemas/([\w.-]+)", json.dumps(schema))
    for name, field in KEY_DEFAULTS:
        done[name]["properties"][field]["default"] = "TCP"
    done["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"] = "int-or-string"
    return done


def messages(root):
    """Message name -> [(number, Rust field, kind)], from the derive attributes of prost."""
    found = {}
    field = re.compile(r'#\[prost\(([^\]]*?),\s*tag = "(\d+)"[^\]]*\)\]\s*pub (?:r#)?(\w+):\s+'
                       r'(.*?)(?=\n    ///|\n    #\[|\Z)', re.S)
    for path in sorted((root / "src").rglob("mod.rs")):
        module = list(path.parent.relative_to(root / "src").parts)
        for struct in re.finditer(r"pub struct (\w+) \{(\}|.*?\n\})", path.read_text(), re.S):
            rows = []
            for attribute, number, name, rust in field.findall(struct.group(2)):
                rows.append((int(number), name, kind(attribute, rust, module)))
            found[full_name(module, struct.group(1))] = rows
    return found


def full_name(module, name):
    return ".".join(["io.k8s"] + [part.replace("_", "-") for part in module] + [name])


def kind(attribute, rust, module):
    inner = re.findall(r"(?:super::)*(?:\w+::)*\w+", rust)[-1]
    def message():
        parts, here = inner.split("::"), list(module)
        while parts[0] == "super":
            parts, here = parts[1:], here[:-1]
        return full_name(here + parts[:-1], parts[-1])
    scalar = {"string": "string", "int32": "int", "int64": "int", "uint32": "int",
              "bool": "bool", "double": "double", "bytes": "bytes"}
    if "map" in attribute:
        value = re.search(r'"string, (\w+)"', attribute).group(1)
        return "{" + (message() if value == "message" else scalar[value])
    word = re.match(r"\w+", attribute).group(0)
    base = message() if word == "message" else scalar[word]
    return ("*" if "repeated" in attribute else "") + base


def tables(schemas, protos):
    out = {}
    plain = lambda text: re.sub(r"[_$-]", "", text).lower()
    # The two sources spell some names differently (HttpGetAction, HTTPGetAction).
    schemas = {key.lower(): schema for key, schema in schemas.items()}
    queue = [(name, {}) for name in sorted(protos) if name.lower() in schemas]
    while queue:
        name, inherited = queue.pop()
        if name in out:
            continue
        properties = schemas.get(name.lower(), {}).get("properties", {})
        names = {plain(key): key for key in properties} or inherited
        rows = {}
        for number, field, what in protos[name]:
            json_name, message = names.get(plain(field), ""), "io.k8s" in what
            # A message without a name of its own is a struct that Go embeds: its fields are
            # named by the parent's properties. What neither names is newer or older than 1.37.
            if not json_name and (not message or field == "workload_ref"):
                continue
            keep = json_name in POINTERS or (message and json_name not in VALUES)
            rows[str(number)] = [json_name, what + ("?" if keep else "")]
            if message:
                queue.append((what.lstrip("*{"), names if not json_name else {}))
        out[name] = rows
    return out


def write(path, table):
    lines = [json.dumps(key) + ":" + json.dumps(table[key], separators=(",", ":"), sort_keys=True,
                                                ensure_ascii=False) for key in sorted(table)]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    schemas = definitions(pathlib.Path(sys.argv[1]))
    write(HERE / "schema.json", schemas)
    write(HERE / "protobuf.json", tables(schemas, messages(pathlib.Path(sys.argv[2]))))


main()
