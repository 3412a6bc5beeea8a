package devnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"golang.org/x/crypto/blake2b"

	"github.com/lpseal/lpseal/chain/lotus"
)

// Config is an embedded network. The zero value, with a Verifier, is one 2 KiB miner t01000 whose epochs only [Node.Advance] makes.
type Config struct {
	Listen         string         // TCP address; "127.0.0.1:0" by default
	Token          string         // bearer token that every call must carry, and that allows everything; none by default
	NetworkName    string         // [DefaultNetworkName] by default
	EpochDuration  time.Duration  // between epochs; 0 makes none but by Advance
	ChallengeDelay abi.ChainEpoch // epochs from pre-commitment to seed; 10 by default, as on 2 KiB networks
	Genesis        time.Time      // time of epoch 0; now by default
	Secret         [32]byte       // that tickets and beacon are made from: equal secrets, equal chains
	History        abi.ChainEpoch // epochs whose state is kept; 4,000 by default

	// Tokens are good beside Token, each for as much as `lotus auth create-token --perm` would have it allow: [Read], [Write] or [Sign].
	Tokens map[string]auth.Permission

	Accounts []Account // t0100, t0101, …; [DefaultAccounts] when empty. Their keys are the node's wallet.
	Miners   []Miner   // [DefaultMiner] when empty
	Verifier Verifier  // checks proofs; without one every proof is refused
	// VerifyAggregate checks a SnarkPack (v2) proof of many seals, in their order. Only filecoin-ffi can: a binary without it, or without a
	// verifying key, has none, and refuses every aggregate with an error that names the build tag. A fault of class Input says that the proof is wrong, which is remembered; one of another class, that
	// it could not be told: the message is refused with its text until it can be.
	VerifyAggregate func(ctx context.Context, seals []SealInfo, aggregate []byte) error

	// Dir keeps the network over restarts: a journal of its messages, replayed at start. Empty keeps it in memory.
	Dir string

	Logger *slog.Logger // slog.Default() when nil
}

// DefaultNetworkName is the name of an embedded network that was given none.
const DefaultNetworkName = "lpseal-devnet"

// Account is a key with a balance.
type Account struct {
	Key     *lotus.Key
	Balance abi.TokenAmount // attoFIL
}

// Miner is a storage miner of the genesis.
type Miner struct {
	ID      abi.ActorID // 1000 and up
	Size    abi.SectorSize
	Balance abi.TokenAmount // attoFIL, available for deposits and pledge
	// Owner, Worker and Control index Config.Accounts.
	Owner, Worker int
	Control       []int
	// PunishedUntil is the last epoch of a penalty for a consensus fault, which forbids pre-commits; 0 is none.
	PunishedUntil abi.ChainEpoch
}

// DefaultAccounts are the wallet of a network that names none: a BLS key (t0100), owner and worker, with 50,000,000 FIL and a
// secp256k1 key (t0101), the control address of our own nonces, with 1,000 FIL.
func DefaultAccounts() []Account {
	return []Account{
		{BLSKey("owner"), FIL(50_000_000)},
		{Secp256k1Key("control"), FIL(1_000)},
	}
}

// DefaultMiner is a miner of the default accounts with 1,000 FIL.
func DefaultMiner(id abi.ActorID, size abi.SectorSize) Miner {
	return Miner{ID: id, Size: size, Balance: FIL(1_000), Control: []int{1}}
}

// FIL is a whole amount in attoFIL.
func FIL(whole int64) abi.TokenAmount { return big.Mul(big.NewInt(whole), builtin.TokenPrecision) }

// BLSKey makes the f3 key of a name. Anybody can: it is for networks whose coins are worth nothing.
func BLSKey(name string) *lotus.Key { return mustKey(lotus.NewBLSKey(keySecret(name))) }

// Secp256k1Key makes the f1 key of a name.
func Secp256k1Key(name string) *lotus.Key { return mustKey(lotus.NewSecp256k1Key(keySecret(name))) }

func keySecret(name string) [32]byte { return blake2b.Sum256([]byte("lpseal/devnet/key/" + name)) }

func mustKey(k *lotus.Key, err error) *lotus.Key {
	if err != nil {
		panic(fmt.Sprintf("devnet: key from a digest: %v", err)) // one digest in 2^256 is no secret
	}
	return k
}

func (c *Config) fill() error {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.NetworkName == "" {
		c.NetworkName = DefaultNetworkName
	}
	if c.ChallengeDelay == 0 {
		c.ChallengeDelay = 10
	}
	if c.Genesis.IsZero() {
		c.Genesis = time.Now()
	}
	if c.History == 0 {
		c.History = 4_000
	}
	if len(c.Accounts) == 0 {
		c.Accounts = DefaultAccounts()
	}
	if len(c.Miners) == 0 {
		c.Miners = []Miner{DefaultMiner(1000, 2<<10)}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	var errs []error
	seen := map[abi.ActorID]bool{}
	for _, m := range c.Miners {
		if m.ID < 1000 || m.ID >= firstFreeID || seen[m.ID] {
			errs = append(errs, fmt.Errorf("miner t0%d: an ID must be used once and lie in 1000..%d", m.ID, firstFreeID-1))
		}
		seen[m.ID] = true
		if _, ok := sealProofs[m.Size]; !ok {
			errs = append(errs, fmt.Errorf("miner t0%d: there are no sectors of %d bytes", m.ID, m.Size))
		}
		for _, i := range append([]int{m.Owner, m.Worker}, m.Control...) {
			if i < 0 || i >= len(c.Accounts) {
				errs = append(errs, fmt.Errorf("miner t0%d: there is no account %d, only %d", m.ID, i, len(c.Accounts)))
			}
		}
	}
	for _, most := range c.Tokens {
		if c.Token == "" || !slices.Contains(permissions, most) {
			errs = append(errs, fmt.Errorf("a token for %q: it is one of %q, beside one that allows everything", most, permissions))
		}
	}
	return errors.Join(errs...)
}

// sealProofs are the interactive V1_1 proofs by sector size; each size may be sealed with its synthetic variant, too.
var sealProofs = map[abi.SectorSize][2]abi.RegisteredSealProof{
	2 << 10:   {abi.RegisteredSealProof_StackedDrg2KiBV1_1, abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep},
	8 << 20:   {abi.RegisteredSealProof_StackedDrg8MiBV1_1, abi.RegisteredSealProof_StackedDrg8MiBV1_1_Feat_SyntheticPoRep},
	512 << 20: {abi.RegisteredSealProof_StackedDrg512MiBV1_1, abi.RegisteredSealProof_StackedDrg512MiBV1_1_Feat_SyntheticPoRep},
	32 << 30:  {abi.RegisteredSealProof_StackedDrg32GiBV1_1, abi.RegisteredSealProof_StackedDrg32GiBV1_1_Feat_SyntheticPoRep},
	64 << 30:  {abi.RegisteredSealProof_StackedDrg64GiBV1_1, abi.RegisteredSealProof_StackedDrg64GiBV1_1_Feat_SyntheticPoRep},
}

// rules allows the proofs of a 2 KiB network, 2 KiB and 8 MiB, and those of the configured miners.
func (c *Config) rules() rules {
	allowed := map[abi.RegisteredSealProof]bool{}
	for _, size := range append([]abi.SectorSize{2 << 10, 8 << 20}, sizes(c.Miners)...) {
		for _, proof := range sealProofs[size] {
			allowed[proof] = true
		}
	}
	return rules{challengeDelay: c.ChallengeDelay, sealProofs: allowed}
}

func sizes(miners []Miner) []abi.SectorSize {
	var out []abi.SectorSize
	for _, m := range miners {
		out = append(out, m.Size)
	}
	return out
}
