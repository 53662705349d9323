//! Golden files: what a published format looks like, committed, and read for ever. A file is lines of a name and
//! hexadecimal digits; `#` begins a comment. [`samples`] makes what goes into one of a type with many variants.

mod samples;

use std::fmt::Debug;
use std::path::PathBuf;

pub use samples::samples;
use serde::de::DeserializeOwned;

/// A name and its bytes.
pub type Vector = (String, Vec<u8>);

/// A file of golden vectors.
#[derive(Debug, Clone, Copy)]
pub struct GoldenFile {
    /// The directory of the package that has it: `env!("CARGO_MANIFEST_DIR")`.
    pub package_directory: &'static str,
    /// Its name, in the package's directory `golden`. It ends with the format's version, where that has one.
    pub name: &'static str,
    /// The package, to be named in the command that makes the file.
    pub package: &'static str,
    /// The constant that says the format's version.
    pub version: &'static str,
}

impl GoldenFile {
    /// Compares what is written today with what is committed. With `RINGSIDE_REGENERATE_GOLDEN` set the file is made first.
    ///
    /// # Panics
    /// If they differ: says what to do.
    pub fn check(&self, vectors: &[Vector]) {
        self.regenerate(self.print(vectors).as_bytes());
        let committed = self.committed();
        let differs = committed.iter().zip(vectors).find(|(committed, written)| committed != written);
        assert!(
            committed == vectors,
            "{}",
            self.changed(differs.map_or("their number", |(committed, _)| &committed.0))
        );
    }

    /// The same for samples of a type, and what is committed is read as these.
    ///
    /// # Panics
    /// If they differ, or what is committed is read as something else.
    pub fn check_samples<T: DeserializeOwned + PartialEq + Debug>(
        &self,
        encode: impl Fn(&T) -> Vec<u8>,
        decode: impl Fn(&[u8]) -> T,
    ) {
        let samples = samples::<T>();
        self.check(&samples.iter().map(|(name, sample)| (name.clone(), encode(sample))).collect::<Vec<_>>());
        for ((name, bytes), (_, sample)) in self.committed().iter().zip(samples) {
            assert_eq!(decode(bytes), sample, "{name}");
        }
    }

    /// The same for a file that is one object, as it is.
    ///
    /// # Panics
    /// If they differ: says what to do.
    pub fn check_object(&self, object: &[u8]) {
        self.regenerate(object);
        let committed = self.object();
        let differs = committed.iter().zip(object).position(|(committed, written)| committed != written);
        let first = differs.map_or("its length".to_owned(), |at| format!("the byte at {at}"));
        assert!(committed == object, "{}", self.changed(&first));
    }

    /// What is committed.
    ///
    /// # Panics
    /// If there is no such file, or it is malformed or empty.
    pub fn committed(&self) -> Vec<Vector> {
        let text = String::from_utf8(self.object()).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let vectors: Vec<Vector> = lines.map(parse).collect();
        assert!(!vectors.is_empty(), "{} is empty", self.name);
        vectors
    }

    /// What is committed of a file that is one object.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn object(&self) -> Vec<u8> {
        std::fs::read(self.path())
            .unwrap_or_else(|error| panic!("{}: {error}; made by `{}`", self.name, self.command()))
    }

    fn regenerate(&self, content: &[u8]) {
        if std::env::var_os("RINGSIDE_REGENERATE_GOLDEN").is_some() {
            let written = std::fs::write(self.path(), content);
            assert!(written.is_ok(), "{}: {written:?}", self.name);
        }
    }

    fn changed(&self, what: &str) -> String {
        format!(
            "{}: what is written is not what was published ({what} differs). A format that changed needs another version: raise \
             {}, name a new file after it, and make that with `{}`. The old file stays as it is, and stays read or is \
             refused by its version",
            self.name,
            self.version,
            self.command(),
        )
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(self.package_directory).join("golden").join(self.name)
    }

    fn command(&self) -> String {
        format!("RINGSIDE_REGENERATE_GOLDEN=1 cargo test -p {}", self.package)
    }

    fn print(&self, vectors: &[Vector]) -> String {
        let mut text = format!("# name, bytes; made by `{}`\n", self.command());
        for (name, bytes) in vectors {
            text.push_str(name);
            text.push(' ');
            bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text.push('\n');
        }
        text
    }
}

fn parse(line: &str) -> Vector {
    let read = line.split_once(' ').and_then(|(name, digits)| Some((name.to_owned(), bytes(digits)?)));
    read.unwrap_or_else(|| panic!("a name and digits, not {line:?}"))
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(pair).collect()
}
