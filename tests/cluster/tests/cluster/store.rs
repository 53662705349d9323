//! A cluster's store, looked at from outside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringside_core::durable::LogName;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::object_server::ObjectServer;

use crate::durable::objects_of;

/// What it is.
#[derive(Clone, Copy)]
pub enum Store {
    Directory,
    Bucket,
}

impl Store {
    /// A cluster with such a store; no session goes to another node by itself.
    ///
    /// # Errors
    /// Why this machine has none.
    pub async fn cluster(self, count: u64) -> Result<Cluster, String> {
        match self {
            Store::Directory => Ok(Cluster::start_at_rest(None, count).await),
            Store::Bucket => Ok(Cluster::start_with_bucket(count, ObjectServer::start()?).await),
        }
    }

    /// How an object is named that lies there in it.
    pub fn name(self, cluster: &Cluster, place: &str) -> String {
        match self {
            Store::Directory => cluster.store().join(place).to_string_lossy().into_owned(),
            Store::Bucket => format!("cluster/{place}"),
        }
    }

    /// Makes an object; false if there is one of that name.
    pub fn create(self, cluster: &Cluster, name: &str, bytes: &[u8]) -> bool {
        match self {
            Store::Directory => std::fs::File::create_new(name)
                .map(|mut file| std::io::Write::write_all(&mut file, bytes).expect("an object"))
                .is_ok(),
            Store::Bucket => cluster.server().create(name, bytes),
        }
    }

    /// The names of the objects below a place in it, in order.
    pub fn names(self, cluster: &Cluster, below: &str) -> Vec<String> {
        let mut names = match self {
            Store::Directory => {
                let mut paths = Vec::new();
                files_below(&cluster.store().join(below), &mut paths);
                paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()
            }
            Store::Bucket => {
                let prefix = self.name(cluster, below) + "/";
                cluster.server().objects().into_iter().filter(|name| name.starts_with(&prefix)).collect::<Vec<_>>()
            }
        };
        names.sort();
        names
    }

    /// The objects below a place in it: their names and bytes, in order.
    pub fn objects(self, cluster: &Cluster, below: &str) -> Vec<(String, Vec<u8>)> {
        let read = |name: String| match self {
            Store::Directory => (name.clone(), std::fs::read(name).expect("an object")),
            Store::Bucket => (name.clone(), cluster.server().get(&name)),
        };
        self.names(cluster, below).into_iter().map(read).collect()
    }

    /// The logs in it, each with how many objects it has.
    pub fn logs(self, cluster: &Cluster) -> BTreeMap<LogName, u64> {
        let mut logs = BTreeMap::new();
        for object in self.names(cluster, "logs") {
            let name = object.rsplit('/').nth(1).and_then(|name| name.parse::<LogName>().ok());
            *logs.entry(name.expect("a log")).or_default() += 1;
        }
        logs
    }

    /// Puts other bytes in an object's place, or nothing.
    pub fn replace(self, cluster: &Cluster, name: &str, bytes: Option<&[u8]>) {
        match (self, bytes) {
            (Store::Directory, Some(bytes)) => std::fs::write(name, bytes).expect("an object"),
            (Store::Directory, None) => std::fs::remove_file(name).expect("an object"),
            (Store::Bucket, Some(bytes)) => cluster.server().put(name, bytes),
            (Store::Bucket, None) => cluster.server().delete(name),
        }
    }
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    // One that is not there has none.
    if !directory.exists() {
        return;
    }
    for path in objects_of(directory) {
        match path.is_dir() {
            true => files_below(&path, files),
            false => files.push(path),
        }
    }
}
