//! DNS messages: encoded and decoded by hickory, record by record.

use hickory_resolver::proto::{
    ProtoError,
    op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name as WireName, RData, RecordType, rdata::TXT},
    serialize::binary::{BinDecodable, BinDecoder, DecodeError},
};
use syntax::{Name, text::line};

use super::{LONGEST_CHAIN, Manner, Question};

/// The largest answer over UDP that is not fragmented on the way (RFC 9715).
const UDP_PAYLOAD: u16 = 1232;

/// The option of an extended DNS error (RFC 8914 section 2).
const EXTENDED_ERROR: u16 = 15;

/// The obsolete type SPF, whose data is that of TXT (RFC 7208 section 14.1).
pub(crate) const TYPE_SPF: RecordType = RecordType::Unknown(99);

/// A decoded answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    header: Header,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
    size: usize,
    message: Vec<u8>,
}

/// A record whose data was understood, or is of no interest.
#[derive(Clone, Debug)]
struct Record {
    owner: Name,
    rtype: RecordType,
    ttl: u32,
    data: Option<RData>,
}

/// The message that asks `question`.
pub(super) fn query(id: u16, question: &Question, edns: bool) -> Result<Vec<u8>, ProtoError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = question.manner != Manner::Direct;
    // Asks for the AD bit in the answer without asking for signatures (RFC 6840 section 5.7).
    message.metadata.authentic_data = question.manner != Manner::Direct;
    message.metadata.checking_disabled = question.manner == Manner::Unchecked;
    message.add_query(Query::query(question.name.wire().clone(), question.rtype));
    if edns {
        let mut extension = Edns::new();
        extension.set_max_payload(UDP_PAYLOAD).set_version(0);
        message.set_edns(extension);
    }
    message.to_vec()
}

/// The id that a message, even a broken one, begins with.
pub(super) fn id(message: &[u8]) -> Option<u16> {
    message.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

/// Whether header and questions of a message can be read, whosever they are.
pub(super) fn is_readable(message: &[u8]) -> bool {
    let mut decoder = BinDecoder::new(message);
    let counts = Header::read(&mut decoder).map(|header| header.counts);
    counts.is_ok_and(|counts| (0..counts.queries).all(|_| Query::read(&mut decoder).is_ok()))
}

/// The question that a message says it answers.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn echoed(message: &[u8]) -> Option<Question> {
    let mut decoder = BinDecoder::new(message);
    Header::read(&mut decoder).ok()?;
    let query = Query::read(&mut decoder).ok()?;
    Some(Question { name: query.name().clone().into(), rtype: query.query_type(), manner: Manner::Recursive })
}

/// A reply to our question that cannot be read.
#[derive(Debug)]
pub(super) struct Malformed;

impl From<DecodeError> for Malformed {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

impl Reply {
    /// What `message` replies to `question`; `None` where it is not a reply to it: another may follow that is (RFC 5452
    /// section 9.1).
    pub(super) fn to(question: &Question, message: &[u8]) -> Option<Result<Self, Malformed>> {
        let mut decoder = BinDecoder::new(message);
        let header = Header::read(&mut decoder).ok()?;
        let metadata = &header.metadata;
        if metadata.message_type != MessageType::Response || metadata.op_code != OpCode::Query {
            return None;
        }
        match header.counts.queries {
            0 => {
                let reply = Self::decode(header, question, message, decoder).ok()?;
                reply.is_bare_error().then_some(Ok(reply))
            }
            1 => {
                let echo = Query::read(&mut decoder).ok()?;
                let is_ours = echo.query_class() == DNSClass::IN
                    && echo.query_type() == question.rtype
                    && question.name == echo.name().clone().into();
                is_ours.then(|| Self::decode(header, question, message, decoder))
            }
            _ => None,
        }
    }

    /// Decodes what follows the question. A record that is not understood does not spoil those beside it, unless it is
    /// of the type that was asked for.
    fn decode(
        header: Header,
        question: &Question,
        message: &[u8],
        mut decoder: BinDecoder<'_>,
    ) -> Result<Self, Malformed> {
        let mut reply = Self {
            header,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            size: 0,
            message: message.to_vec(),
        };
        // What is left of it is not used (RFC 2181 section 9), wherever it was cut.
        if reply.is_truncated() {
            return Ok(reply);
        }
        let counts = header.counts;
        let section = |decoder: &mut BinDecoder<'_>, count| {
            (0..count).map(|_| Record::decode(decoder, question.rtype)).collect::<Result<Vec<_>, _>>()
        };
        reply.answers = section(&mut decoder, counts.answers)?;
        reply.size = decoder.index();
        reply.authorities = section(&mut decoder, counts.authorities)?;
        reply.additionals = section(&mut decoder, counts.additionals)?;
        reply.extend_code()?;
        Ok(reply)
    }

    /// Takes the upper bits of the code from the OPT record, of which there is one, in the additional section, at the root
    /// (RFC 6891 sections 6.1.1 to 6.1.3).
    fn extend_code(&mut self) -> Result<(), Malformed> {
        let is_opt = |record: &&Record| record.rtype == RecordType::OPT;
        let mut extensions = self.additionals.iter().filter(is_opt);
        let extension = extensions.next();
        let is_misplaced = self.answers.iter().chain(&self.authorities).any(|record| is_opt(&record));
        if is_misplaced || extensions.next().is_some() || extension.is_some_and(|record| !record.owner.is_root()) {
            return Err(Malformed);
        }
        if let Some(extension) = extension {
            let [upper, ..] = extension.ttl.to_be_bytes();
            self.header.metadata.merge_response_code(upper);
        }
        Ok(())
    }

    /// Whether it is an error and nothing else, as a server sends it that did not get as far as the question. That there
    /// is nothing is not said without saying of what.
    fn is_bare_error(&self) -> bool {
        !matches!(self.code(), ResponseCode::NoError | ResponseCode::NXDomain) && self.answers.is_empty()
    }

    /// Whether the records are an answer to `question`, if there are any. Beside NXDOMAIN there are none but the CNAMEs that
    /// lead to the name (RFC 6604 section 3).
    pub(super) fn fits(&self, question: &Question) -> bool {
        let aliases = self.aliases(&question.name, LONGEST_CHAIN + 1);
        let has_records = !self.records(aliases.last().unwrap_or(&question.name), question.rtype).is_empty();
        let is_alias = self.is_alias(&question.name);
        match self.is_nxdomain() {
            _ if self.answers.is_empty() => true,
            true => is_alias && !has_records,
            false => is_alias || has_records,
        }
    }

    pub(super) fn code(&self) -> ResponseCode {
        self.header.metadata.response_code
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.header.metadata.truncation
    }

    /// Whether the server speaks for the zone (AA).
    pub(super) fn is_authoritative(&self) -> bool {
        self.header.metadata.authoritative
    }

    /// Whether the server says that all signatures are valid (AD, RFC 4035 section 3.2.3).
    pub(super) fn is_authentic(&self) -> bool {
        self.header.metadata.authentic_data
    }

    pub(super) fn is_nxdomain(&self) -> bool {
        self.code() == ResponseCode::NXDomain
    }

    /// Whether the server only says who else might know: it is not recursive, and the zone is not its own.
    pub(super) fn is_referral(&self) -> bool {
        self.code() == ResponseCode::NoError
            && !self.header.metadata.authoritative
            && self.answers.is_empty()
            && self.has_authority(RecordType::NS)
            && !self.has_authority(RecordType::SOA)
    }

    /// The message as it came.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// How many octets the message takes up to the end of the answer: servers leave the rest out where space is short
    /// (RFC 2181 section 9).
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// What the server says about an error beyond its code.
    pub(super) fn extended_error(&self) -> Option<String> {
        let options = self.additionals.iter().find_map(|record| match &record.data {
            Some(RData::OPT(options)) => Some(options),
            _ => None,
        })?;
        options.as_ref().iter().find_map(|(code, option)| {
            let octets = Vec::<u8>::try_from(option).ok().filter(|_| u16::from(*code) == EXTENDED_ERROR)?;
            let (code, text) = octets.split_first_chunk().map(|(code, text)| (u16::from_be_bytes(*code), text))?;
            let meaning = meaning(code).map(|meaning| format!(", {meaning}")).unwrap_or_default();
            Some(match text.is_empty() {
                true => format!("extended error {code}{meaning}"),
                false => format!("extended error {code}{meaning}: {}", line(&String::from_utf8_lossy(text))),
            })
        })
    }

    /// The targets of the CNAMEs that lead away from `name`, in order, each once, and no more of them than `most`.
    pub(super) fn aliases(&self, name: &Name, most: usize) -> Vec<Name> {
        let mut chain: Vec<Name> = Vec::new();
        while let Some(target) = self.alias(chain.last().unwrap_or(name)).filter(|_| chain.len() < most) {
            if target == *name || chain.contains(&target) {
                break;
            }
            chain.push(target);
        }
        chain
    }

    /// Whether `name` is a CNAME here.
    pub(super) fn is_alias(&self, name: &Name) -> bool {
        self.alias(name).is_some()
    }

    fn alias(&self, name: &Name) -> Option<Name> {
        self.answers.iter().find_map(|record| match &record.data {
            Some(RData::CNAME(target)) if record.owner == *name => Some(target.0.clone().into()),
            _ => None,
        })
    }

    /// The data of the records of type `rtype` at `name`.
    pub(super) fn records(&self, name: &Name, rtype: RecordType) -> Vec<RData> {
        let wanted = self.answers.iter().filter(|record| record.rtype == rtype && record.owner == *name);
        wanted.filter_map(|record| record.data.clone()).collect()
    }

    /// Whether the server says neither what is at the end of a CNAME chain nor that there is nothing: an
    /// authoritative server does so where the chain leaves its zones.
    pub(super) fn leaves_open(&self, end: &Name, rtype: RecordType) -> bool {
        // The SOA of a zone that the end is not in says nothing about it (RFC 2308 section 2.2).
        let has_soa =
            self.authorities.iter().any(|record| record.rtype == RecordType::SOA && end.is_within(&record.owner));
        self.code() == ResponseCode::NoError
            && !has_soa
            && !self.answers.iter().any(|record| record.rtype == rtype && record.owner == *end)
    }

    fn has_authority(&self, rtype: RecordType) -> bool {
        self.authorities.iter().any(|record| record.rtype == rtype)
    }
}

/// The words of RFC 8914 section 4 for what concerns signatures and the servers behind the resolver.
fn meaning(extended_error: u16) -> Option<&'static str> {
    Some(match extended_error {
        1 => "Unsupported DNSKEY Algorithm",
        2 => "Unsupported DS Digest Type",
        5 => "DNSSEC Indeterminate",
        6 => "DNSSEC Bogus",
        7 => "Signature Expired",
        8 => "Signature Not Yet Valid",
        9 => "DNSKEY Missing",
        10 => "RRSIGs Missing",
        11 => "No Zone Key Bit Set",
        12 => "NSEC Missing",
        15 => "Blocked",
        16 => "Censored",
        17 => "Filtered",
        18 => "Prohibited",
        22 => "No Reachable Authority",
        23 => "Network Error",
        _ => return None,
    })
}

impl Record {
    fn decode(decoder: &mut BinDecoder<'_>, asked: RecordType) -> Result<Self, DecodeError> {
        let owner = WireName::read(decoder)?.into();
        let rtype = RecordType::read(decoder)?;
        let class = decoder.read_u16()?.unverified(/* compared below */);
        let ttl = decoder.read_u32()?.unverified(/* looked at in OPT alone */);
        let length = decoder.read_u16()?;
        let start = decoder.index();
        let octets =
            decoder.read_slice(usize::from(length.unverified(/* only a bound */)))?.unverified(/* decoded below */);
        // A record of another class is of no type that anybody here asks for.
        if class != u16::from(DNSClass::IN) && rtype != RecordType::OPT {
            return Ok(Self { owner, rtype: RecordType::ZERO, ttl, data: None });
        }
        // A TXT record without even an empty string is against RFC 1035 section 3.3.14, but it is published.
        if octets.is_empty() && rtype == RecordType::TXT {
            return Ok(Self { owner, rtype, ttl, data: Some(RData::TXT(TXT::from_bytes(vec![b""]))) });
        }
        let start = u16::try_from(start).map_err(|_| DecodeError::InsufficientBytes)?;
        let form = if rtype == TYPE_SPF { RecordType::TXT } else { rtype };
        match RData::read(&mut decoder.clone(start), form, length) {
            Ok(data) => Ok(Self { owner, rtype, ttl, data: Some(data) }),
            Err(error) if rtype == asked || rtype == RecordType::CNAME => Err(error),
            Err(_) => Ok(Self { owner, rtype, ttl, data: None }),
        }
    }
}
