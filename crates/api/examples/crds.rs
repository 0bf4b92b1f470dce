//! Writes the CustomResourceDefinitions as YAML files into the folder that is named.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: crds DIR")?;
    std::fs::create_dir_all(&folder)?;
    for crd in hanse_api::crds() {
        std::fs::write(folder.join(hanse_api::crd_file_name(&crd)), hanse_api::crd_yaml(&crd))?;
    }
    Ok(())
}
