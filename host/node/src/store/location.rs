//! Where a store is: a directory, or a bucket of a service that speaks S3.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::{Store, StoreError};
use crate::http::use_ring;
use crate::limits::CHAIN_QUESTIONS;

/// How long a connection to the service may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take: a module of 32 MiB fits, unless the line is very slow.
const ANSWER: Duration = Duration::from_secs(15);
/// For how long a request that failed is tried again before its failure is told. Who needs it tries on.
const RETRIES: Duration = Duration::from_secs(10);

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A local directory.
    Directory(PathBuf),
    /// A bucket, and what all names in it begin with. Who may use it, and where the service is, the usual variables of the
    /// environment say (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, …).
    S3 {
        /// The bucket's name.
        bucket: String,
        /// No slash at either end; may be empty.
        prefix: String,
    },
}

impl Location {
    /// What people write: `s3://bucket`, `s3://bucket/prefix`, or the path of a directory. `None` if it is neither.
    pub fn parse(value: &OsStr) -> Option<Location> {
        match value.to_str() {
            Some(text) if text.contains("://") => {
                let (bucket, prefix) = match text.strip_prefix("s3://")?.split_once('/') {
                    Some((bucket, prefix)) => (bucket, prefix.trim_matches('/')),
                    None => (text.strip_prefix("s3://")?, ""),
                };
                let is_name = |name: &str| {
                    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) && name != ".."
                };
                let is_prefix = prefix.is_empty() || prefix.split('/').all(|part| !part.is_empty() && is_name(part));
                let is_bucket = (3..=63).contains(&bucket.len()) && is_name(bucket);
                (is_bucket && is_prefix).then(|| Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
            }
            _ => (!value.is_empty()).then(|| Location::Directory(PathBuf::from(value))),
        }
    }

    /// Opens it to write to; a directory is made if it is missing.
    ///
    /// # Errors
    /// [`StoreError`]: the directory cannot be written, or the environment does not say how to reach the service. Whether
    /// that answers is not known yet.
    pub fn open(&self) -> Result<Store, StoreError> {
        match self {
            Location::Directory(directory) => Store::local(directory),
            Location::S3 { bucket, prefix } => s3(bucket, prefix),
        }
    }

    /// Opens it to read from; nothing is made.
    ///
    /// # Errors
    /// [`Location::open`]; there is no such directory.
    pub fn open_to_read(&self) -> Result<Store, StoreError> {
        match self {
            Location::Directory(directory) => Store::read_only(directory),
            Location::S3 { bucket, prefix } => s3(bucket, prefix),
        }
    }

    /// The directory, if it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Location::Directory(directory) => Some(directory),
            Location::S3 { .. } => None,
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::Directory(directory) => directory.display().fmt(f),
            Location::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Location::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

fn s3(bucket: &str, prefix: &str) -> Result<Store, StoreError> {
    use_ring();
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(std::env::var_os);
    // Who names an endpoint without encryption wants it so.
    let is_plain = endpoint.is_some_and(|url| url.to_string_lossy().starts_with("http://"));
    let options = ClientOptions::new().with_allow_http(is_plain).with_connect_timeout(CONNECT).with_timeout(ANSWER);
    let retries = RetryConfig { backoff: BackoffConfig::default(), max_retries: 5, retry_timeout: RETRIES };
    let service = AmazonS3Builder::from_env()
        .with_client_options(options)
        .with_retry(retries)
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()?;
    let name = format!("bucket {}", Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
    let objects: Arc<dyn ObjectStore> = match prefix {
        "" => Arc::new(service),
        prefix => Arc::new(PrefixStore::new(service, prefix)),
    };
    Ok(Store::of(objects, name, CHAIN_QUESTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_directory_or_a_bucket_or_refused() {
        let parse = |text: &str| Location::parse(OsStr::new(text));
        let s3 =
            |bucket: &str, prefix: &str| Some(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        assert_eq!(parse("/srv/store"), Some(Location::Directory("/srv/store".into())));
        assert_eq!(parse("s3:/x"), Some(Location::Directory("s3:/x".into())), "a path, if a strange one");
        assert_eq!(parse("s3://studio"), s3("studio", ""));
        assert_eq!(parse("s3://studio/"), s3("studio", ""));
        assert_eq!(parse("s3://studio/ringside/eu/"), s3("studio", "ringside/eu"));
        assert_eq!(parse("s3://studio/a").unwrap().to_string(), "s3://studio/a");
        for wrong in [
            "",
            "s3://",
            "s3://x",
            "s3://a b c",
            "s3://studio/../x",
            "s3://studio/a//b",
            "gs://studio",
            "http://studio",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
