"""The artefacts of the stand-in for W&B's server: versions by their content, aliases, who made and who used them."""

import json
from dataclasses import dataclass, field
from typing import Any

PROJECT = {"id": "1", "internalId": "1", "name": "leyden", "entity": {"id": "1", "name": "me"}}


@dataclass
class Version:
    """A version of an artefact."""

    id: str
    name: str  # of all versions
    type: str
    digest: str
    metadata: dict[str, Any]
    made_by: str | None  # a run
    wanted: set[str]  # aliases that it gets once it is whole
    used_by: set[str] = field(default_factory=set)
    aliases: set[str] = field(default_factory=set)
    number: int | None = None  # v0, v1, …; None before it is whole

    @property
    def state(self) -> str:
        return "PENDING" if self.number is None else "COMMITTED"


class Artefacts:
    """Keeps artefacts as W&B does, and answers its client's questions about them; `files` are all bytes that came."""

    def __init__(self, address: str, files: dict[str, bytes]) -> None:
        self.address, self.files = address, files
        self.versions: list[Version] = []

    def of(self, name: str) -> list[Version]:
        """The whole versions of an artefact, the first first."""
        found = [version for version in self.versions if version.name == name and version.number is not None]
        return sorted(found, key=lambda version: version.number or 0)

    def find(self, name: str, alias: str) -> Version | None:
        return next((each for each in self.of(name) if alias in each.aliases | {f"v{each.number}"}), None)

    def content(self, version: Version) -> dict[str, bytes]:
        """The files of a version by their names, as its manifest says."""
        named = json.loads(self.files[f"{version.id}/manifest"])["contents"]
        births = {name: entry.get("birthArtifactID") or version.id for name, entry in named.items()}
        return {name: self.files[f"{birth}/{name}"] for name, birth in births.items()}

    def createartifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        given = variables.get("input", variables)
        name = given["artifactCollectionName"]
        aliases = {each["alias"] for each in given.get("aliases") or []}
        version = next((each for each in self.of(name) if each.digest == given["digest"]), None)
        if version is None:
            metadata = json.loads(given.get("metadata") or "{}")
            kind, digest, made_by = given["artifactTypeName"], given["digest"], given.get("runName")
            version = Version(f"artefact{len(self.versions)}", name, kind, digest, metadata, made_by, aliases)
            self.versions.append(version)
        else:
            self._name(version, aliases)
        newest = self.find(name, "latest")
        sequence = {"id": name, "latestArtifact": newest and {"id": newest.id, "versionIndex": newest.number}}
        return {
            "createArtifact": {"artifact": {"id": version.id, "state": version.state, "artifactSequence": sequence}}
        }

    def createartifactmanifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        identity = variables["artifactID"]
        file = {"id": "1", "uploadUrl": f"{self.address}/storage/{identity}/manifest", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": identity, "file": file}}}

    def updateartifactmanifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        answer = self.createartifactmanifest({"artifactID": variables["artifactManifestID"]})
        return {"updateArtifactManifest": answer["createArtifactManifest"]}

    def createartifactfiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        places = [f"{file['artifactID']}/{file['name']}" for file in variables["input"]["artifactFiles"]]
        nodes = [
            {
                "storagePath": place, "uploadUrl": f"{self.address}/storage/{place}", "uploadHeaders": [],
                "uploadMultipartUrls": None, "artifact": {"id": place.split("/")[0]},
            }
            for place in places
        ]  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def commitartifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        (version,) = (each for each in self.versions if each.id == variables["artifactID"])
        assert all(place in self.files for place in [f"{version.id}/manifest"])
        version.number = len(self.of(version.name))
        self._name(version, version.wanted | {"latest"})
        return {"commitArtifact": {"artifact": {"id": version.id, "digest": version.digest}}}

    def useartifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        given = variables.get("input", variables)
        (version,) = (each for each in self.versions if each.id == given["artifactID"])
        version.used_by.add(given["runName"])
        return {"useArtifact": {"artifact": {"id": version.id, "digest": version.digest}}}

    def artifacttype(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self.of(variables["name"].split(":")[0])
        return {"project": {"artifact": {"artifactType": {"name": found[0].type}} if found else None}}

    def artifactbyid(self, variables: dict[str, Any]) -> dict[str, Any]:
        (version,) = (each for each in self.versions if each.id == variables["id"])
        return {"artifact": self._told(version)}

    def artifactmembershipbyname(self, variables: dict[str, Any]) -> dict[str, Any]:
        name, _, alias = variables["name"].partition(":")
        version = self.find(name, alias or "latest")
        if version is None:
            return {"project": {"artifactCollectionMembership": None}}
        told = self._told(version)
        aliases = [{key: each[key] for key in ("__typename", "id", "alias")} for each in told["aliases"]]
        membership = {
            "__typename": "ArtifactCollectionMembership", "id": version.id, "versionIndex": version.number,
            "createdAt": told["createdAt"], "aliases": aliases, "artifactCollection": _collection(name),
            "artifact": told,
        }  # fmt: skip
        return {"project": {"artifactCollectionMembership": membership}}

    def fetchartifactmanifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        file = {"directUrl": f"{self.address}/storage/{variables['id']}/manifest"}
        return {"artifact": {"currentManifest": {"file": file}}}

    def getartifactmembershipfileurls(self, variables: dict[str, Any]) -> dict[str, Any]:
        version = self.find(variables["collection"], variables["alias"])
        assert version is not None
        nodes = [
            {"__typename": "File", "name": name, "directUrl": f"{self.address}/storage/{version.id}/{name}"}
            for name in self.content(version)
        ]
        page = {"endCursor": None, "hasNextPage": False}
        membership = {"files": {"pageInfo": page, "edges": [{"node": node} for node in nodes]}}
        found = {"__typename": "ArtifactSequence", "artifactMembership": membership}
        return {"project": {"artifactCollection": found}}

    def _name(self, version: Version, aliases: set[str]) -> None:
        """Gives a version aliases, which no other of the artefact has from then on."""
        for other in self.of(version.name):
            other.aliases -= aliases
        version.aliases |= aliases

    def _told(self, version: Version) -> dict[str, Any]:
        aliases = [
            {"__typename": "ArtifactAlias", "id": alias, "alias": alias,
             "artifactCollection": _collection(version.name)}
            for alias in sorted(version.aliases)
        ]  # fmt: skip
        now = "2026-11-26T00:00:00"
        return {
            "__typename": "Artifact", "id": version.id, "artifactSequence": _collection(version.name),
            "versionIndex": version.number, "artifactType": {"name": version.type}, "description": None,
            "metadata": json.dumps(version.metadata), "ttlDurationSeconds": -2, "ttlIsInherited": False, "tags": [],
            "historyStep": None, "state": version.state, "digest": version.digest, "commitHash": "0",
            "size": sum(map(len, self.content(version).values())), "fileCount": len(self.content(version)),
            "createdAt": now, "updatedAt": now, "aliases": aliases,
        }  # fmt: skip


def _collection(name: str) -> dict[str, Any]:
    return {"__typename": "ArtifactSequence", "name": name, "project": PROJECT}
