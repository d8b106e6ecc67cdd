//! Whom certificates are trusted from: typed trust anchors, or the system's.

use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::parsed;
use crate::{
    file::{self, Extent},
    net::Deadline,
};

/// Several times what all public CAs together fill.
const LARGEST_FILE: usize = 4 * 1024 * 1024;

/// How long a pipe is waited for that the environment names instead of the system's file.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the files of a directory may take that it names: none of them is waited for.
const LONGEST_READING: Duration = Duration::from_secs(60);

/// Trust anchors. The system's cost a good ten milliseconds to load and are loaded when a handshake first needs them.
#[derive(Clone)]
pub struct Anchors(Arc<Source>);

enum Source {
    System(LazyLock<Store>),
    Typed(Store),
}

/// The same certificates twice: as webpki wants them, and by the name under which issuers are looked up.
struct Store {
    roots: RootCertStore,
    certificates: Vec<(Vec<u8>, CertificateDer<'static>)>,
}

/// The system's.
impl Default for Anchors {
    fn default() -> Self {
        Self(Arc::new(Source::System(LazyLock::new(system))))
    }
}

impl Anchors {
    /// What Postfix calls `smtp_tls_CAfile` and `smtp_tls_CApath`, which add up; the system's where neither is given.
    ///
    /// # Errors
    /// One of them cannot be read before the deadline, or holds no certificate: says which and why.
    pub fn load(file: Option<&Path>, directory: Option<&Path>, deadline: Deadline) -> Result<Self, String> {
        if file.is_none() && directory.is_none() {
            return Ok(Self::default());
        }
        let mut certificates = Vec::new();
        if let Some(file) = file {
            certificates.extend(in_file(file, deadline)?);
        }
        if let Some(directory) = directory {
            certificates.extend(in_directory(directory, deadline)?);
        }
        Ok(Self(Arc::new(Source::Typed(Store::new(certificates)))))
    }

    /// These and the system's: whoever trusts a private CA for the relay trusts the others' web servers all the same.
    pub(crate) fn with_system(&self) -> Self {
        let Source::Typed(store) = &*self.0 else {
            self.warm();
            return self.clone();
        };
        let typed = store.certificates.iter().map(|(_, certificate)| certificate.clone());
        Self(Arc::new(Source::Typed(Store::new(typed.chain(of_system()).collect()))))
    }

    /// Whether there are none: a system without its package of CA certificates.
    pub(crate) fn are_none(&self) -> bool {
        self.store().certificates.is_empty()
    }

    /// These certificates.
    pub(super) fn of(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self(Arc::new(Source::Typed(Store::new(certificates))))
    }

    /// Whether the user named them, as Postfix needs it.
    pub(crate) fn are_typed(&self) -> bool {
        matches!(*self.0, Source::Typed(_))
    }

    /// Loads what is loaded late, so that no handshake waits for it.
    pub(crate) fn warm(&self) {
        self.store();
    }

    pub(super) fn roots(&self) -> &RootCertStore {
        &self.store().roots
    }

    /// The anchors whose subject is `name`, in DER.
    pub(super) fn named(&self, name: &[u8]) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.store().certificates.iter().filter(move |(subject, _)| subject == name).map(|(_, certificate)| certificate)
    }

    fn store(&self) -> &Store {
        match &*self.0 {
            Source::System(store) => store,
            Source::Typed(store) => store,
        }
    }
}

impl Store {
    fn new(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore::empty();
        let mut seen = HashSet::new();
        let mut named = Vec::new();
        for certificate in certificates {
            let Ok(subject) = parsed(&certificate).map(|certificate| certificate.subject().as_raw().to_vec()) else {
                continue;
            };
            if seen.insert(certificate.clone()) {
                // What webpki cannot use as an anchor, OpenSSL may: it stays in the list of names.
                let _ = roots.add(certificate.clone());
                named.push((subject, certificate));
            }
        }
        Self { roots, certificates: named }
    }
}

fn system() -> Store {
    Store::new(of_system())
}

/// The system's, or those that OpenSSL's variables name in their place; what cannot be read there is not there.
fn of_system() -> Vec<CertificateDer<'static>> {
    let (file, directories) = (env::var_os("SSL_CERT_FILE"), env::var_os("SSL_CERT_DIR"));
    if file.is_none() && directories.is_none() {
        return rustls_native_certs::load_native_certs().certs;
    }
    let file = file.map(|file| sound(Path::new(&file), Deadline::after(PATIENCE)));
    let deadline = Deadline::after(LONGEST_READING);
    let directories: Vec<PathBuf> = directories.iter().flat_map(env::split_paths).collect();
    let inside = directories.iter().filter_map(|directory| in_directory(directory, deadline).ok());
    file.into_iter().chain(inside).flatten().collect()
}

fn in_file(file: &Path, deadline: Deadline) -> Result<Vec<CertificateDer<'static>>, String> {
    let complaint = |why: String| format!("CA file {}: {why}", file.display());
    let pem = file::read(file, LARGEST_FILE, Extent::Whole, deadline).map_err(|error| complaint(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| complaint(format!("no valid PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(complaint("no certificate in it, expected PEM (-----BEGIN CERTIFICATE-----)".to_owned()));
    }
    if let Some(why) = certificates.iter().find_map(|certificate| parsed(certificate).err()) {
        return Err(complaint(why));
    }
    Ok(certificates)
}

/// The certificates of a file that can be read as such; none where it cannot.
fn sound(file: &Path, deadline: Deadline) -> Vec<CertificateDer<'static>> {
    let pem = file::read(file, LARGEST_FILE, Extent::Whole, deadline);
    pem.map(|pem| CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect()).unwrap_or_default()
}

/// Every PEM file of a directory, whatever its name: `c_rehash` names a certificate by its hash, people by what it is.
/// What is no file of a few megabytes that can be read at once, such as the kernel's in /proc, holds no certificate.
fn in_directory(directory: &Path, deadline: Deadline) -> Result<Vec<CertificateDer<'static>>, String> {
    let complaint = |why: String| format!("CA directory {}: {why}", directory.display());
    let mut files = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        .map_err(|error| complaint(error.to_string()))?;
    files.sort();
    let at_once = Deadline::after(Duration::ZERO);
    let certificates: Vec<_> = files
        .iter()
        .take_while(|_| !deadline.is_over())
        .filter(|file| file.is_file())
        .flat_map(|file| sound(file, at_once))
        .collect();
    if deadline.is_over() {
        return Err(complaint(format!("not read to its end within {}", deadline.budget())));
    }
    if certificates.is_empty() {
        return Err(complaint("no file in it holds a PEM certificate".to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_come_from_files_and_directories() {
        let deadline = Deadline::after(Duration::from_secs(60));
        let scratch = std::env::temp_dir().join(format!("mail-preflight-anchors-{}", std::process::id()));
        fs::create_dir_all(&scratch).unwrap();
        let (good, empty) = (scratch.join("b204d74a.0"), scratch.join("README"));
        let root = rcgen::generate_simple_self_signed(["root.test".to_owned()]).unwrap().cert;
        fs::write(&good, root.pem()).unwrap();
        fs::write(&empty, "nothing here").unwrap();

        for (file, directory) in [(Some(&good), None), (None, Some(&scratch)), (Some(&good), Some(&scratch))] {
            let anchors = Anchors::load(file.map(AsRef::as_ref), directory.map(AsRef::as_ref), deadline).unwrap();
            assert!(anchors.are_typed());
            assert_eq!(anchors.store().certificates.len(), 1);
            let both = anchors.with_system();
            let system = system().certificates.len();
            assert_eq!(both.store().certificates.len(), 1 + system);
            assert_eq!(both.with_system().store().certificates.len(), 1 + system);
        }
        for (file, why) in
            [(&empty, "no certificate in it"), (&scratch, "directory"), (&scratch.join("none"), "No such")]
        {
            let error = Anchors::load(Some(file), None, deadline).err().unwrap();
            assert!(error.contains(why) && error.contains(&file.display().to_string()), "{error}");
        }
        fs::remove_file(&good).unwrap();
        assert!(Anchors::load(None, Some(&scratch), deadline).err().unwrap().contains("no file in it"));
        fs::remove_dir_all(&scratch).unwrap();
    }
}
