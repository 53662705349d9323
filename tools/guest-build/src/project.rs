//! The game in a directory: asks cargo which packages are there, and picks the one that makes a module.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use crate::build::{Build, canonical, cargo, name};
use crate::error::BuildError;
use crate::toolchain::Toolchain;

/// A package whose library becomes a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    package: String,
    library: String,
    workspace: PathBuf,
    target: PathBuf,
    sources: Vec<(PathBuf, String)>,
}

/// What `cargo metadata` tells, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    path: Option<PathBuf>,
}

impl Package {
    /// The library that becomes a module.
    fn library(&self) -> Option<&str> {
        let makes_module = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
        self.targets.iter().find(makes_module).map(|target| target.name.as_str())
    }
}

impl Project {
    /// The game whose Cargo.toml lies in `directory`: that package, or the only game of that workspace.
    ///
    /// # Errors
    /// If there is no Cargo.toml, cargo does not understand it, or it does not make exactly one module.
    pub fn find(directory: &Path) -> Result<Project, BuildError> {
        let directory = canonical(directory)?;
        let manifest = directory.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(BuildError::NoManifest(directory));
        }
        Self::pick(&manifest, metadata(&manifest)?)
    }

    fn pick(manifest: &Path, metadata: Metadata) -> Result<Project, BuildError> {
        let Metadata { packages, workspace_root: workspace, target_directory } = metadata;
        let package = match packages.iter().find(|package| package.manifest_path == manifest) {
            Some(package) => package,
            None => only_game(&workspace, &packages)?,
        };
        let library = package.library().ok_or_else(|| BuildError::NoModule(package.name.clone()))?;
        let elsewhere = package.dependencies.iter().filter_map(|dependency| {
            let path = dependency.path.as_ref().filter(|path| !path.starts_with(&workspace))?;
            Some((path.clone(), dependency.name.clone()))
        });
        Ok(Project {
            package: package.name.clone(),
            library: library.replace('-', "_"),
            target: target_directory.join("guest"),
            sources: std::iter::once((workspace.clone(), "game".to_owned())).chain(elsewhere).collect(),
            workspace,
        })
    }

    /// The package's name.
    pub fn package(&self) -> &str {
        &self.package
    }

    /// Builds the module with the profile *release*; answers where it is.
    ///
    /// # Errors
    /// If cargo cannot be run, or the game does not compile.
    pub fn build(&self, toolchain: &Toolchain) -> Result<PathBuf, BuildError> {
        let build = Build {
            directory: &self.workspace,
            packages: &[&self.package],
            profile: "release",
            feature: None,
            target: &self.target,
            sources: &self.sources,
        };
        Ok(build.run(toolchain)?.join(&self.library).with_extension("wasm"))
    }
}

fn only_game<'a>(workspace: &Path, packages: &'a [Package]) -> Result<&'a Package, BuildError> {
    let games: Vec<&Package> = packages.iter().filter(|package| package.library().is_some()).collect();
    match games[..] {
        [game] => Ok(game),
        [] => Err(BuildError::NoGame(workspace.to_owned())),
        _ => {
            let directories = games.iter().filter_map(|game| game.manifest_path.parent()).map(Path::to_owned);
            Err(BuildError::SeveralGames { workspace: workspace.to_owned(), games: directories.collect() })
        }
    }
}

fn metadata(manifest: &Path) -> Result<Metadata, BuildError> {
    let mut cargo = cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let output = match cargo.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(source) => return Err(BuildError::Start { program: name(&cargo), source }),
    };
    let misunderstood = |reason: String| BuildError::Manifest { manifest: manifest.to_owned(), reason };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(misunderstood(said.trim().trim_start_matches("error: ").to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| misunderstood(error.to_string()))
}

#[cfg(test)]
mod tests {
    use ringside_test_support::directory::Directory;

    use super::*;

    /// Writes a package that cargo understands; `rest` is the rest of its Cargo.toml.
    fn package(directory: &Path, name: &str, rest: &str) {
        std::fs::create_dir_all(directory.join("src")).unwrap();
        std::fs::write(directory.join("src/lib.rs"), "").unwrap();
        let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n{rest}");
        std::fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    }

    const CDYLIB: &str = "[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n";
    const ALONE: &str = "[workspace]\n";

    #[test]
    fn a_game_is_found_with_its_library_and_what_lies_elsewhere() {
        let directory = Directory::new();
        package(&directory.path().join("sdk"), "sdk", ALONE);
        let game = directory.path().join("game");
        package(&game, "my-game", &format!("{CDYLIB}{ALONE}[dependencies]\nsdk = {{ path = \"../sdk\" }}\n"));
        let found = Project::find(&game).unwrap();
        let root = directory.path().canonicalize().unwrap();
        assert_eq!((found.package(), found.library.as_str()), ("my-game", "my_game"));
        assert!(found.target.ends_with("guest"), "{found:?}");
        assert_eq!(found.sources, [(root.join("game"), "game".to_owned()), (root.join("sdk"), "sdk".to_owned())]);
    }

    #[test]
    fn the_only_game_of_a_workspace_is_meant() {
        let directory = Directory::new();
        std::fs::write(directory.path().join("Cargo.toml"), "[workspace]\nmembers = [\"a\", \"b\"]\n").unwrap();
        package(&directory.path().join("a"), "a", CDYLIB);
        package(&directory.path().join("b"), "b", "");
        assert_eq!(Project::find(directory.path()).unwrap().package(), "a");
        assert!(matches!(Project::find(&directory.path().join("b")), Err(BuildError::NoModule(name)) if name == "b"));

        package(&directory.path().join("b"), "b", CDYLIB);
        let error = Project::find(directory.path()).unwrap_err();
        assert!(matches!(&error, BuildError::SeveralGames { games, .. } if games.len() == 2), "{error:?}");
        assert_eq!(Project::find(&directory.path().join("b")).unwrap().package(), "b");

        package(&directory.path().join("a"), "a", "");
        package(&directory.path().join("b"), "b", "");
        assert!(matches!(Project::find(directory.path()), Err(BuildError::NoGame(_))));
    }

    #[test]
    fn what_is_no_project_is_refused_with_its_reason() {
        let directory = Directory::new();
        assert!(matches!(Project::find(directory.path()), Err(BuildError::NoManifest(_))));
        assert!(matches!(Project::find(&directory.path().join("none")), Err(BuildError::File { .. })));
        std::fs::write(directory.path().join("Cargo.toml"), "[package\n").unwrap();
        let error = Project::find(directory.path()).unwrap_err();
        assert!(matches!(&error, BuildError::Manifest { reason, .. } if reason.contains("Cargo.toml")), "{error:?}");
    }
}
