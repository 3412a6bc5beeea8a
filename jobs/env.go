package jobs

import (
	"context"
	"io"
	"time"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// Env is the world a stage's Do may touch.
type Env struct {
	Prover   Prover
	Chain    Chain
	Files    Files
	Pieces   Pieces
	Handover Handover // nil: stored sectors are declared to nobody
	// Aggregator joins the proofs of a batch; nil: they go one by one.
	Aggregator Aggregator
	Clock      Clock
	Rand       io.Reader // seeds of self-checks
	Progress   func(Progress)
}

// Clock is the wall clock; tests drive it.
type Clock interface{ Now() time.Time }

// Progress is how far a stage has come.
type Progress struct {
	Step  string `json:"step"` // such as "layer 3/11"
	Done  uint64 `json:"done"` // bytes
	Total uint64 `json:"total"`
}

// Seal names a seal: what a replica and its proof are bound to.
type Seal struct {
	ID     SectorID
	Proof  abi.RegisteredSealProof
	Ticket []byte // 32 bytes
	CommD  cid.Cid
	// The rest is known later: after tree_rc and after the seed is drawn.
	CommR cid.Cid
	Seed  []byte // 32 bytes
}

// Folders are a sector's paths on its home host.
type Folders struct {
	Cache  string // folder: layers, trees, p_aux, t_aux, named as rust-fil-proofs names them
	Sealed string // file of sector size
}

// Prover makes and checks proofs. Implementations (ffi/native, ffi/filcrypto)
// write the same bytes and pass the same conformance suite. Paths exist and
// belong to the seal; every method stops soon after ctx ends where it can, and
// returns a *Fault where it knows the class.
type Prover interface {
	// Name is "native" or "filcrypto".
	Name() string
	// TreeD writes sc-02-data-tree-d.dat from the pieces, checks every CommP on the
	// way (class Data when one differs) and returns CommD. No pieces means zeros.
	TreeD(ctx context.Context, proof abi.RegisteredSealProof, cache string, pieces []PieceReader, report func(Progress)) (cid.Cid, error)
	// SDR writes the layer files. Finished layers of the same seal are kept.
	SDR(ctx context.Context, s Seal, cache string, report func(Progress)) error
	// TreeRC writes tree-c, tree-r-last, p_aux, t_aux and the sealed file, from the
	// layers and tree-d; for a synthetic proof type also the file of synthetic proofs.
	// It returns CommR.
	TreeRC(ctx context.Context, s Seal, f Folders, report func(Progress)) (cid.Cid, error)
	// C1 makes the vanilla proof for s.Seed, checks it, and returns filecoin-ffi's
	// JSON bytes. A replica that does not verify is class Input. For a synthetic proof
	// type it selects from the file of synthetic proofs and needs no [ReleasedFiles].
	C1(ctx context.Context, s Seal, f Folders) ([]byte, error)
	// C2 makes the proof that goes on chain from C1's output.
	C2(ctx context.Context, s Seal, c1 []byte) ([]byte, error)
	// Verify checks a proof as the chain will. c1 is what C2 was made from; only
	// the native prover, whose proofs are tags (see [VanillaTag]), reads it.
	Verify(ctx context.Context, s Seal, proof, c1 []byte) error
	// Unseal writes unpadded bytes [offset, offset+size) of the sector's data to w,
	// from the sealed file alone; scratch is an empty folder for the key's layers.
	Unseal(ctx context.Context, s Seal, sealed, scratch string, offset, size uint64, w io.Writer, report func(Progress)) error
}

// Lockstep is a [Prover] that makes the layers of several sectors of one proof type
// together in less time than one after another.
type Lockstep interface {
	// Width is how many sectors at a time are worth it on this machine; 1 is none.
	Width() int
	// SDRTogether does what SDR does for each of the group, whose seals have one proof
	// type. It returns an error for each, in order; one that fails or is called off
	// leaves the others alone.
	SDRTogether(ctx context.Context, group []SDRJob) []error
}

// SDRJob is one sector of a lockstep group.
type SDRJob struct {
	Ctx    context.Context // its own: it ends this sector alone
	Seal   Seal
	Cache  string // as for [Prover.SDR]
	Report func(Progress)
	// Done, unless nil, is told once how the sector ended, when the prover has let go of
	// its files: others of the group may take hours more.
	Done func(error)
}

// NativeProver is the name of the pure-Go prover, whose C2 makes no SNARK.
const NativeProver = "native"

// VanillaTag starts a native "proof", which is no SNARK: 192 bytes, this tag
// zero-padded to 160 bytes and the SHA-256 of the C1 output. Only the embedded
// node accepts it, and only after it was offered the C1 output itself.
const VanillaTag = "lpseal vanilla proof, not a SNARK"

// PieceReader is an open piece.
type PieceReader struct {
	Piece
	io.Reader // gives RawSize bytes, then EOF
}

// Pieces opens the sources of pieces.
type Pieces interface {
	// Open gives exactly p.RawSize bytes or an error: class Data when the source is
	// shorter or longer, Transient when it cannot be reached now, Rejected when it
	// may not be (a private address).
	Open(ctx context.Context, p Piece) (io.ReadCloser, error)
}

// Manifest binds a cache folder to one seal: rust-fil-proofs resumes layers by
// size alone and would mix those of two tickets (reference: proofs §0.5).
type Manifest struct {
	ReplicaID string                  `json:"replica_id"` // hex
	Proof     abi.RegisteredSealProof `json:"proof"`
	// Digests are SHA-256 of finished files by name, in hex.
	Digests map[string]string `json:"digests,omitempty"`
}

// Files is the sector's files: those on this host's paths directly, those of
// other hosts by the file service.
type Files interface {
	// Home gives the sector's folders on its home path and makes them. A path this
	// host does not serve is class Busy.
	Home(ctx context.Context, r *Record) (Folders, error)
	// Bind makes the cache folder belong to m: layers of another manifest are moved
	// to trash first. It returns the manifest that stands, with finished digests.
	Bind(ctx context.Context, r *Record, m Manifest) (Manifest, error)
	// Seal fsyncs the named cache files, writes their SHA-256 into the manifest and
	// returns them.
	Seal(ctx context.Context, r *Record, names ...string) (map[string]string, error)
	// CheckSealed compares the files a stage reads with the manifest; a difference
	// is class Input, an absence is class Input with Missing.
	CheckSealed(ctx context.Context, r *Record, names ...string) error
	// Started says whether the cache folder holds a finished layer of the record's
	// ticket: an old ticket is only redrawn while there is none.
	Started(ctx context.Context, r *Record) (bool, error)
	// SaveC1 writes C1's output on the home host, fsynced, and returns its SHA-256.
	SaveC1(ctx context.Context, r *Record, c1 []byte) (string, error)
	// LoadC1 reads it, over the file service where home is another host, and checks
	// it against the record.
	LoadC1(ctx context.Context, r *Record) ([]byte, error)
	// Store copies what lasts (sealed, p_aux, t_aux, tree-r-last, unsealed if kept)
	// to a storage path in lotus' layout, fsynced, and compares digests.
	Store(ctx context.Context, r *Record, report func(Progress)) (*Stored, error)
	// DropLayers removes the sector's [ReleasedFiles]; Finalize removes all scratch of a sector
	// that is stored and committed.
	DropLayers(ctx context.Context, r *Record) error
	Finalize(ctx context.Context, r *Record) error
	// Wipe removes what an older fence or ticket left in the home path.
	Wipe(ctx context.Context, r *Record) error
	// Locate asks every live host which of the sector's files it holds whole.
	Locate(ctx context.Context, r *Record) ([]Location, error)
	// Abandon removes the sector's files from its home path. Stored files stay.
	Abandon(ctx context.Context, r *Record) error
}

// Stored is where a sector's lasting files are.
type Stored struct {
	Path    string            `json:"path"`    // storage path id
	Digests map[string]string `json:"digests"` // file type to SHA-256, in hex
	// DeclaredTo is who answered that it finds the files there, such as "lotus-miner
	// t01000"; empty where nobody was to be told.
	DeclaredTo string `json:"declared_to,omitempty"`
}

// Location is a path that holds files of a sector.
type Location struct {
	Path  string   `json:"path"`  // storage path id
	Files []string `json:"files"` // whole files by name: "sealed", "c1.json", cache file names
}

// Network is what the node says of its network. Nothing of it is assumed.
type Network struct {
	Name           string         `json:"name"`
	Version        uint           `json:"version"`
	BlockDelay     time.Duration  `json:"block_delay"`
	ChallengeDelay abi.ChainEpoch `json:"challenge_delay"` // pre-commit to seed: 150, or 10 on 2k networks
	// Embedded says that this is the node of chain/devnet: it takes native proofs
	// and nobody makes a WindowPoSt there.
	Embedded bool `json:"embedded"`
}

// Head is a tipset of the chain.
type Head struct {
	Epoch abi.ChainEpoch
	Key   string // tipset key, opaque
}

// OnChain is what the chain says of a sector as of a tipset at landing
// confidence.
type OnChain struct {
	AsOf abi.ChainEpoch // epoch of that tipset
	// PreCommit is the pre-commitment, nil if there is none (never was, expired, or
	// the sector is committed).
	PreCommit *OnChainPreCommit
	// Sector is the committed sector, nil if there is none.
	Sector *OnChainSector
}

// OnChainPreCommit is the state's pre-commit info.
type OnChainPreCommit struct {
	Epoch       abi.ChainEpoch // when it was included, from state and not the receipt
	CommR       cid.Cid
	CommD       cid.Cid        // undefined for committed capacity
	Expires     abi.ChainEpoch // prove-commit deadline
	TicketEpoch abi.ChainEpoch
}

// OnChainSector is the state's sector info.
type OnChainSector struct {
	CommR      cid.Cid
	Activation abi.ChainEpoch
	Expiration abi.ChainEpoch
}

// MessageState is how far a message has come.
type MessageState string

// Message states. Terminal ones are Confirmed, Failed and Dropped; a replacement lands under
// the same meaning.
const (
	MessageNone      MessageState = ""          // no such message known
	MessageJournaled MessageState = "journaled" // signed bytes are written down, push not known to have happened
	MessagePushed    MessageState = "pushed"    // in a mempool
	MessageLanded    MessageState = "landed"    // executed, not yet at confidence
	MessageConfirmed MessageState = "confirmed" // executed with exit code 0, at confidence
	MessageFailed    MessageState = "failed"    // executed with another exit code, at confidence
	MessageDropped   MessageState = "dropped"   // its nonce was used by another message
)

// Terminal says that the message will not change any more.
func (s MessageState) Terminal() bool {
	return s == MessageConfirmed || s == MessageFailed || s == MessageDropped
}

// Message is a message's state as a fact.
type Message struct {
	CID   string
	State MessageState
	// Epoch is the height of the tipset as of which a terminal message has had its
	// effect: what the chain said of the sector before it says nothing about that.
	Epoch abi.ChainEpoch
	// Fault classifies a failed message: its exit code, or the member's code inside
	// a BatchReturn.
	Fault *Fault
	// Unknown is why nothing is known of the message, not even whether there is one: nothing
	// may be decided on that. It is nil otherwise.
	Unknown error
}

// Meaning names what a message is for. Two messages of one meaning must never
// both exist; the chain client journals by it.
type Meaning struct {
	Stage Stage // precommit or commit
	ID    SectorID
	Fence int
}

// String gives the journal key, such as "precommit/s-t01000-42/f1".
func (m Meaning) String() string {
	return string(m.Stage) + "/" + m.ID.String() + "/f" + itoa(m.Fence)
}

// PreCommitRequest is one sector's pre-commitment.
type PreCommitRequest struct {
	Meaning     Meaning
	Seal        Seal // without Seed
	TicketEpoch abi.ChainEpoch
	CC          bool
	// Expiration is the epoch the sector shall live to; 0 lets the client choose
	// the longest allowed. Terms bound it.
	Expiration abi.ChainEpoch
	Terms      Terms
}

// CommitRequest is one sector's proof.
type CommitRequest struct {
	Meaning Meaning
	Seal    Seal
	Pieces  []Piece
	Proof   []byte
	// Deadline is the last epoch at which the proof may land: see [CommitDeadline].
	Deadline abi.ChainEpoch
}

// Sent is what became of one member of a batch.
type Sent struct {
	// Message is the CID of the message that carries the member; empty when the
	// chain shows its effect and no message of ours is known.
	Message string
	// Fault says why the member was taken out of the batch; the others go.
	Fault *Fault
}

// Aggregator makes one SnarkPack v2 proof of the SNARKs of 4 to 819 sectors of one
// miner and proof type, in the order given.
type Aggregator interface {
	Aggregate(ctx context.Context, seals []Seal, snarks [][]byte) ([]byte, error)
}

// Miner is what the chain says of a miner.
type Miner struct {
	SectorSize abi.SectorSize
	SealProof  abi.RegisteredSealProof // V1_1 of its size
}

// Chain is a Filecoin node. Reads answer as of the current tipset and are cached
// for as long as it stands; OnChain and Message read at landing confidence (5
// epochs by default). Errors are *Fault where the class is known (Transient when
// the node cannot be reached).
type Chain interface {
	Network(ctx context.Context) (Network, error)
	Head(ctx context.Context) (Head, error)
	Miner(ctx context.Context, miner abi.ActorID) (Miner, error)
	// Allocated is the miner's bitfield of used sector numbers.
	Allocated(ctx context.Context, miner abi.ActorID) (bitfield.BitField, error)
	// Ticket is seal randomness (domain 5) at an epoch, which may be negative on a
	// young network; Seed is interactive seal randomness (domain 6). 32 bytes each.
	Ticket(ctx context.Context, miner abi.ActorID, epoch abi.ChainEpoch) ([]byte, error)
	Seed(ctx context.Context, miner abi.ActorID, epoch abi.ChainEpoch) ([]byte, error)
	OnChain(ctx context.Context, id SectorID) (OnChain, error)
	// PieceTerms checks, as of the head, that the allocation and the deals a piece speaks
	// of are there, are the miner's, are of this piece and not over, and gives what they
	// demand. Otherwise the fault is Rejected or, where it is too late, Deadline.
	PieceTerms(ctx context.Context, miner abi.ActorID, p Piece) (Terms, error)
	// Proving says how a sector that was committed at an epoch stands with its first
	// WindowPoSt. It costs calls by deadline and not by sector, and none before the
	// deadline has closed, so that any number of sectors may be watched.
	Proving(ctx context.Context, id SectorID, committed abi.ChainEpoch) (Proving, error)
	// Messages gives the states of messages by meaning. It costs calls by tipset,
	// not by message. One of which nothing can be known hides no other.
	Messages(ctx context.Context, meanings []Meaning) ([]Message, error)
	// SendPreCommits and SendCommits send a batch of one miner and seal proof: at
	// most one message of each meaning, however often they are called, with whatever
	// other members, and wherever they were cut off. The chain is asked first: what is
	// already there is not sent again. batch is the batch's identity, the same
	// whenever a lost delivery is repeated. The answer has one entry for each request,
	// in order. An error means that nothing could be sent now (transient, busy,
	// funds); a member's own trouble is its Fault, and the others go. What keeps the last
	// members of a batch back after the first were sent is their Fault, too.
	SendPreCommits(ctx context.Context, batch string, rs []PreCommitRequest) ([]Sent, error)
	// SendCommits sends one aggregated proof where agg is given and that is cheaper;
	// a nil agg never aggregates.
	SendCommits(ctx context.Context, batch string, rs []CommitRequest, agg Aggregator) ([]Sent, error)
	// OfferVanilla gives the embedded node the C1 output behind a native proof.
	OfferVanilla(ctx context.Context, id SectorID, c1 []byte) error
}
