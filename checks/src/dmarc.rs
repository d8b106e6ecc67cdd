//! What receivers do with mail that fails.

use crate::{check::checks, message::dmarc as message};

checks! {
    /// A sent message passes DMARC.
    ///
    /// With `--message FILE`: receivers look for a signature that verifies, or an SPF pass, of a domain aligned with the
    /// From domain; where there is neither, they do what its policy says (RFC 9989 section 5.3). Mail that passes by SPF
    /// alone fails as soon as somebody forwards it (section 7.4).
    ///
    /// # Fix
    /// Sign with a key of the From domain (`d=`), and let the envelope's domain be under the same one.
    "dmarc.message" ("RFC 9989 section 5.3") => message,
}
