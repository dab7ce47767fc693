#!/usr/bin/env python3
"""Writes what the binary consists of: an SBOM (CycloneDX 1.5, JSON), and the licences that its parts ask to be shown.

    packaging/components.py VERSION SBOM LICENCES

All is read from what the build is made of, and nothing is guessed: names, versions and hashes from Cargo.lock, licences
from the packages' own declarations and files, the C library's version from the compiler. What only the build runs
(compilers of C, generators) is listed with the scope "excluded". Equal inputs give equal bytes: the time is
SOURCE_DATE_EPOCH.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

TARGET = "x86_64-unknown-linux-gnu"
PROJECT = pathlib.Path(__file__).resolve().parent.parent
# How the licences' files begin, in lower case.
LICENCES = ("licen", "copying", "copyright", "notice", "unlicense")
NOT_LINKED = {"tests", "util", "googletest", "wycheproof_testvectors"}
# C that crates bring with them, by the crate: its name, where its version stands, and how.
NATIVE = {
    "aws-lc-sys": ("aws-lc", "aws-lc/include/openssl/base.h", r'AWSLC_VERSION_NUMBER_STRING "([0-9.]+)"'),
    "zstd-sys": ("zstd", "Cargo.toml", r'version = ".*\+zstd\.([0-9.]+)"'),
}


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=PROJECT).stdout.strip()


def needed(metadata):
    """The packages by id that the binary needs, each with whether it is a part of it, and not only of its build."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    linked = {}
    waiting = [(identity, True) for identity, name in names.items() if name == "offsite-cli"]
    while waiting:
        identity, part = waiting.pop()
        if linked.get(identity, False) or (identity in linked and not part):
            continue
        linked[identity] = part
        for dependency in nodes[identity]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if None in kinds:
                waiting.append((dependency["pkg"], part and not is_macro(metadata, dependency["pkg"])))
            elif "build" in kinds:
                waiting.append((dependency["pkg"], False))
    return linked, nodes


def is_macro(metadata, identity):
    package = next(package for package in metadata["packages"] if package["id"] == identity)
    return any("proc-macro" in target["kind"] for target in package["targets"])


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, part, checksum):
    entry = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required" if part else "excluded",
    }
    if checksum:
        # Of the file that the registry serves.
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["license"]:
        # Before SPDX 2 a slash was written for OR.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    entry["purl"] = reference(package)
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def native(package):
    """The C library in a crate, whose licence is of both."""
    name, path, pattern = NATIVE[package["name"]]
    text = pathlib.Path(package["manifest_path"]).parent.joinpath(path).read_text()
    version = re.search(pattern, text).group(1)
    return {"type": "library", "bom-ref": f"{reference(package)}#{name}", "name": name, "version": version}


def runtime():
    """What the compilers add: the C library, linked into the binary, and Rust's own."""
    entries = []
    version = said("getconf", "GNU_LIBC_VERSION").split()[1]
    glibc = {"type": "library", "bom-ref": "glibc", "name": "glibc", "version": version, "scope": "required"}
    glibc["licenses"] = [{"expression": "LGPL-2.1-or-later"}]
    installed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Version} ${source:Package} ${source:Version}", "libc6-dev"],
        capture_output=True, text=True)
    if installed.returncode == 0:
        debian, source, of_source = installed.stdout.split()
        distribution = dict(
            line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
        release = distribution.get("VERSION_ID", "").strip('"')
        glibc["version"] = debian
        glibc["purl"] = f"pkg:deb/{distribution['ID']}/{source}@{of_source}?arch=source&distro={distribution['ID']}-{release}"
    entries.append(glibc)
    words = said("rustc", "--version").split()
    entries.append({
        "type": "library", "bom-ref": "rust-std", "name": "rust-std", "version": words[1], "scope": "required",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    })
    return entries


def bill(version, metadata, linked, nodes, checksums):
    packages = {package["id"]: package for package in metadata["packages"]}
    top = next(identity for identity in linked if packages[identity]["name"] == "offsite-cli")
    components, dependencies = [], []
    for identity in sorted(linked, key=lambda identity: reference(packages[identity])):
        package = packages[identity]
        below = sorted(reference(packages[edge["pkg"]]) for edge in nodes[identity]["deps"] if edge["pkg"] in linked)
        if identity == top:
            dependencies.insert(0, {"ref": "offsite", "dependsOn": below + ["glibc", "rust-std"]})
            continue
        entry = component(package, linked[identity], checksums.get((package["name"], package["version"])))
        if package["name"] in NATIVE:
            entry["components"] = [native(package)]
        components.append(entry)
        dependencies.append({"ref": reference(package), "dependsOn": below})
    time = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application", "bom-ref": "offsite", "name": "offsite", "version": version,
                "licenses": [{"expression": packages[top]["license"]}],
            },
        },
        "components": components + runtime(),
        "dependencies": dependencies,
    }
    # Of the content, so that equal documents have equal numbers.
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document)).urn
    return document


def licences(metadata, linked):
    """The licences' files of all that is linked, each once, with the packages that it is of."""
    texts = {}
    for package in sorted(metadata["packages"], key=reference):
        if not linked.get(package["id"]) or package["source"] is None:
            continue
        folder = pathlib.Path(package["manifest_path"]).parent
        files = [path for path in folder.rglob("*") if path.is_file() and path.name.lower().startswith(LICENCES)]
        # Tests and tools are not linked.
        files = [path for path in files if not NOT_LINKED & set(path.relative_to(folder).parts)
                 and path.suffix not in {".rs", ".c", ".h", ".go", ".py"}]
        name = f"{package['name']} {package['version']} ({package['license']})"
        if not files:
            texts.setdefault("The package declares this licence and holds no text of it.\n", []).append(name)
        for path in sorted(files):
            text = path.read_text(encoding="utf-8", errors="replace")
            texts.setdefault(text, []).append(name)
    return texts


def main():
    version, sbom, shown = sys.argv[1:]
    metadata = json.loads(said(
        "cargo", "metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", TARGET))
    locked = tomllib.loads((PROJECT / "Cargo.lock").read_text())["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
    linked, nodes = needed(metadata)
    document = bill(version, metadata, linked, nodes, checksums)
    pathlib.Path(sbom).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    with open(shown, "w", encoding="utf-8") as out:
        for text, names in licences(metadata, linked).items():
            print("=" * 100, *sorted(set(names)), "-" * 100, text.strip(), "", sep="\n", file=out)


main()
