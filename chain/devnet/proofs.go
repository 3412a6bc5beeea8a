package devnet

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/lpseal/lpseal/jobs"
)

// SealInfo is what a proof must be bound to, as the chain knows it: number, miner, ticket and seed drawn by the chain itself, CommD
// and CommR from the pre-commitment.
type SealInfo = jobs.Seal

// Verifier checks proofs for the node. An error means that the proof is wrong (or that ctx ended).
type Verifier interface {
	// VerifyVanilla checks every opening of a C1 output in filecoin-ffi's JSON form.
	VerifyVanilla(ctx context.Context, info SealInfo, c1 []byte) error
	// VerifySNARK checks a Groth16 proof of a replica.
	VerifySNARK(ctx context.Context, info SealInfo, proof []byte) error
}

// A native proof is the tag, zero-padded, and the SHA-256 of the C1 output (jobs.VanillaTag).
const (
	tagArea       = 160
	vanillaLength = tagArea + sha256.Size
)

// Bounds on what may be offered: a 64 GiB sector's C1 output is under 64 MiB, and a sector is rarely proven for more than two seeds.
const (
	maxVanilla     = 64 << 20
	offersASector  = 4
	maxOfferedSize = 1 << 30
)

// vanillaDigest gives the digest in a native proof; false means that the proof is of another kind.
func vanillaDigest(proof []byte) (d [sha256.Size]byte, ok bool) {
	if len(proof) != vanillaLength {
		return d, false
	}
	var area [tagArea]byte
	copy(area[:], jobs.VanillaTag)
	if [tagArea]byte(proof[:tagArea]) != area {
		return d, false
	}
	return [sha256.Size]byte(proof[tagArea:]), true
}

// proofs verifies, once for each seal and proof: a message is executed when its gas is estimated, again when it is called for others
// in the pool, and when it is included.
type proofs struct {
	verifier   Verifier
	aggregates func(context.Context, []SealInfo, []byte) error
	journal    *journal

	mu      sync.Mutex
	offered map[jobs.SectorID][]vanilla // oldest first
	size    int                         // bytes offered and kept
	checked map[[sha256.Size]byte]bool  // verdicts by seal and proof
}

type vanilla struct {
	digest [sha256.Size]byte
	c1     []byte
}

func newProofs(cfg *Config) *proofs {
	return &proofs{verifier: cfg.Verifier, aggregates: cfg.VerifyAggregate, offered: map[jobs.SectorID][]vanilla{}, checked: map[[sha256.Size]byte]bool{}}
}

// offer keeps a C1 output for the native proof that is to come.
func (p *proofs) offer(id jobs.SectorID, c1Base64 string) error {
	c1, err := base64.StdEncoding.DecodeString(c1Base64)
	if err != nil {
		return fmt.Errorf("offer vanilla proof of %s: %w", id, err)
	}
	if len(c1) > maxVanilla {
		return fmt.Errorf("offer vanilla proof of %s: %d bytes are more than %d", id, len(c1), maxVanilla)
	}
	v := vanilla{sha256.Sum256(c1), c1}
	p.mu.Lock()
	defer p.mu.Unlock()
	offers := p.offered[id]
	if slices.ContainsFunc(offers, func(o vanilla) bool { return o.digest == v.digest }) {
		return nil
	}
	if len(offers) == offersASector {
		p.size -= len(offers[0].c1)
		offers = offers[1:]
	}
	if p.size+len(c1) > maxOfferedSize {
		return fmt.Errorf("offer vanilla proof of %s: the node already keeps %d bytes; prove or drop some sectors first", id, p.size)
	}
	p.size += len(c1)
	p.offered[id] = append(slices.Clone(offers), v)
	return nil
}

// verify says whether a proof is good. An error means that it could not be found out.
func (p *proofs) verify(ctx context.Context, seal SealInfo, proof []byte) (good bool, err error) {
	if p.verifier == nil {
		return false, nil
	}
	key := proofKey(seal, proof)
	digest, native := vanillaDigest(proof)
	p.mu.Lock()
	good, known := p.checked[key]
	offers := p.offered[seal.ID]
	p.mu.Unlock()
	if known {
		return good, nil
	}
	if native {
		i := slices.IndexFunc(offers, func(o vanilla) bool { return o.digest == digest })
		if i < 0 {
			return false, nil // and not remembered: it may be offered yet
		}
		good = p.verifier.VerifyVanilla(ctx, seal, offers[i].c1) == nil
	} else {
		good = p.verifier.VerifySNARK(ctx, seal, proof) == nil
	}
	return p.judge(ctx, key, good)
}

// judge remembers a verdict, over restarts too.
func (p *proofs) judge(ctx context.Context, key [sha256.Size]byte, good bool) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checked[key] = good
	return good, p.journal.write(entry{Verdict: &verdict{hex.EncodeToString(key[:]), good}})
}

// verifyAggregate is verify for one proof of many seals. It says why the aggregate is refused; empty accepts it.
func (p *proofs) verifyAggregate(ctx context.Context, seals []SealInfo, aggregate []byte) (refusal string, err error) {
	if p.aggregates == nil {
		return "this embedded node cannot verify aggregates; build lpseal with tag filcrypto (make build-ffi) and start it with --vk", nil
	}
	all := sha256.New()
	for _, s := range seals {
		one := proofKey(s, aggregate)
		all.Write(one[:])
	}
	key := [sha256.Size]byte(all.Sum(nil))
	p.mu.Lock()
	good, known := p.checked[key]
	p.mu.Unlock()
	if !known {
		err := p.aggregates(ctx, seals, aggregate)
		var fault *jobs.Fault
		if errors.As(err, &fault) && fault.Class != jobs.Input {
			return err.Error(), nil // and not remembered: what is missing may come yet
		}
		if good, err = p.judge(ctx, key, err == nil); err != nil {
			return "", fmt.Errorf("verify aggregate of %d sectors: %w", len(seals), err)
		}
	}
	if !good {
		return fmt.Sprintf("the proof is not of these %d sectors", len(seals)), nil
	}
	return "", nil
}

func proofKey(s SealInfo, proof []byte) (key [sha256.Size]byte) {
	h := sha256.New()
	var n [8]byte
	for _, v := range []uint64{uint64(s.ID.Miner), uint64(s.ID.Number), uint64(s.Proof)} {
		binary.BigEndian.PutUint64(n[:], v)
		h.Write(n[:])
	}
	for _, b := range [][]byte{s.Ticket, s.Seed, s.CommD.Bytes(), s.CommR.Bytes(), proof} {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	h.Sum(key[:0])
	return key
}
