"""Writes random placement cases without their answers: mixes.py SEED COUNT [WORD].

With a word only cases that have it in their title are written.
"""

import json
import random
import sys

UIDS = ["", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"]


def group(dice, field, fewest, slack):
    low = dice.randint(*fewest)
    return {"spreadByField": field, "minGroups": low, "maxGroups": low + dice.randint(0, slack)}


def spread(dice):
    region = group(dice, "region", (1, 3), 1)
    some = group(dice, "cluster", (1, 4), 3)
    other = group(dice, dice.choice(["zone", "provider"]), (1, 3), 1)
    return dice.choices(
        [[some], [region], [region, some], [other], [other, some], [region, some, other]],
        [30, 15, 45, 3, 4, 3],
    )[0]


def scheduling(dice, kind):
    if kind == "duplicated":
        return {"replicaSchedulingType": "Duplicated"}
    if kind == "aggregated":
        return {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Aggregated"}
    found = {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted"}
    if kind == "dynamic":
        found["weightPreference"] = {"dynamicWeight": "AvailableReplicas"}
    elif dice.random() < 0.8:
        tiers = dice.sample(["gold", "silver", "bronze"], dice.randint(1, 3))
        found["weightPreference"] = {"staticWeightList": [
            {"targetCluster": {"labelSelector": {"matchLabels": {"tier": tier}}}, "weight": dice.randint(1, 5)}
            for tier in tiers
        ]}
    return found


def cluster(dice, number, regions):
    region = f"r{dice.randrange(regions)}"
    found = {
        "name": f"k{number:02}", "region": region, "zones": [f"{region}-{dice.choice('ab')}"],
        "provider": dice.choice(["p1", "p1", "p2"]),
        "labels": {"env": dice.choice(["prod", "dev"]), "tier": dice.choice(["gold", "silver", "bronze"])},
        "apis": ["apps/v1/Deployment", "v1/ConfigMap"],
        "allocatable": {"cpu": str(dice.randint(1, 30)), "memory": "1000Gi", "pods": "1000"},
    }
    if dice.random() < 0.1:
        effect = dice.choice(["NoSchedule", "NoExecute", "PreferNoSchedule"])
        found["taints"] = [{"key": "k", "value": dice.choice(["", "v"]), "effect": effect}]
    if dice.random() < 0.06:
        found["apis"] = ["v1/ConfigMap"]
        found["apisIncomplete"] = dice.random() < 0.3
    if dice.random() < 0.03:
        found["deleting"] = True
    if dice.random() < 0.03:
        del found["allocatable"]
    return found


def case(dice, number):
    clusters = [cluster(dice, at, dice.randint(1, 5)) for at in range(dice.randint(1, 14))]
    names = [known["name"] for known in clusters]
    kind = dice.choice(["duplicated", "aggregated", "dynamic", "static"])
    placement = {"replicaScheduling": scheduling(dice, kind)}
    words = [kind]
    if dice.random() < 0.3:
        placement["clusterAffinity"] = {"labelSelector": {"matchLabels": {"env": "prod"}}}
        words.append("selector")
    elif dice.random() < 0.1:
        first, second, third = (dice.sample(names, dice.randint(1, len(names))) for _ in range(3))
        placement["clusterAffinities"] = [{"affinityName": "a", "clusterNames": first, "overflowAffinities": [
            {"affinityName": "b", "clusterNames": second}, {"affinityName": "c", "clusterNames": third}]}]
        words.append("overflow")
    if dice.random() < 0.5:
        placement["spreadConstraints"] = spread(dice)
        words.append("spread")
    if dice.random() < 0.1:
        placement["clusterTolerations"] = [{"key": "k", "operator": dice.choice(["Exists", "Equal"]),
                                            "effect": dice.choice(["", "NoSchedule", "NoExecute"])}]
    found = {"id": f"x{number}", "group": "x", "clusters": clusters, "placement": placement}
    if "clusterAffinities" in placement:
        found["observedAffinity"] = "a"
    replicas = dice.choice([dice.randint(1, 12), dice.randint(1, 40), dice.randint(20, 90)])
    found["workload"] = {
        "apiVersion": "apps/v1", "kind": "Deployment", "uid": dice.choice(UIDS),
        "replicas": 0 if dice.random() < 0.03 else replicas, "requests": {"cpu": dice.choice(["1", "1", "500m"])},
    }
    found["previous"] = []
    if dice.random() < 0.5:
        held = dice.sample(names, dice.randint(1, min(5, len(names))))
        found["previous"] = [{"cluster": name, "replicas": dice.randint(1, 12)} for name in held]
        words.append("from an assignment")
        others = [name for name in names if name not in held]
        if others and dice.random() < 0.25:
            found["evicting"] = [dice.choice(others)]
        if dice.random() < 0.25:
            found["fresh"] = True
            words.append("fresh")
    found["title"] = "random: " + ", ".join(words)
    return found


if __name__ == "__main__":
    DICE = random.Random(int(sys.argv[1]))
    WORD = "".join(sys.argv[3:4])
    for at in range(int(sys.argv[2])):
        made = case(DICE, at)
        if WORD in made["title"]:
            made["id"] = WORD + made["id"]
            print(json.dumps(made))
