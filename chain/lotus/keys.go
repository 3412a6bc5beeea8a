package lotus

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/crypto"
	"golang.org/x/crypto/blake2b"
)

// ErrSignature is wrapped by every refusal of VerifySignature.
var ErrSignature = errors.New("signature does not verify")

// blsDomain is the ciphersuite of Filecoin's BLS signatures: keys in G1, signatures in G2, no message augmentation.
var blsDomain = []byte("BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_")

// Key is a wallet key of a test or of the embedded node. Keys of a real node stay in its wallet.
type Key struct {
	addr address.Address
	sign func(data []byte) ([]byte, error)
	kind crypto.SigType
}

// NewSecp256k1Key makes the f1 key of a 32-byte secret.
func NewSecp256k1Key(secret [32]byte) (*Key, error) {
	priv := secp256k1.PrivKeyFromBytes(secret[:])
	if priv.Key.IsZero() {
		return nil, errors.New("secp256k1 key: the secret is zero")
	}
	addr, err := address.NewSecp256k1Address(priv.PubKey().SerializeUncompressed())
	if err != nil {
		return nil, fmt.Errorf("secp256k1 key: %w", err)
	}
	return &Key{addr: addr, kind: crypto.SigTypeSecp256k1, sign: func(data []byte) ([]byte, error) {
		digest := blake2b.Sum256(data)
		compact := ecdsa.SignCompact(priv, digest[:], false)
		return append(compact[1:], compact[0]-compactHeader), nil // Filecoin puts the recovery id last, without offset
	}}, nil
}

// NewBLSKey makes the f3 key of a 32-byte secret (big-endian, reduced modulo the group order).
func NewBLSKey(secret [32]byte) (*Key, error) {
	var scalar fr.Element
	scalar.SetBytes(secret[:])
	if scalar.IsZero() {
		return nil, errors.New("bls key: the secret is zero")
	}
	var exp big.Int
	scalar.BigInt(&exp)
	var pub bls12381.G1Affine
	pub.ScalarMultiplicationBase(&exp)
	raw := pub.Bytes()
	addr, err := address.NewBLSAddress(raw[:])
	if err != nil {
		return nil, fmt.Errorf("bls key: %w", err)
	}
	return &Key{addr: addr, kind: crypto.SigTypeBLS, sign: func(data []byte) ([]byte, error) {
		point, err := bls12381.HashToG2(data, blsDomain)
		if err != nil {
			return nil, err
		}
		sig := new(bls12381.G2Affine).ScalarMultiplication(&point, &exp).Bytes()
		return sig[:], nil
	}}, nil
}

// Address returns the key's public address (f1 or f3).
func (k *Key) Address() address.Address { return k.addr }

// Sign signs raw bytes, as WalletSign does.
func (k *Key) Sign(data []byte) (*crypto.Signature, error) {
	sig, err := k.sign(data)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", k.addr, err)
	}
	return &crypto.Signature{Type: k.kind, Data: sig}, nil
}

// SignMessage signs a message whose From is the key's address, as WalletSignMessage does: over the bytes of its CID.
func (k *Key) SignMessage(m *Message) (*SignedMessage, error) {
	if m.From != k.addr {
		return nil, fmt.Errorf("sign message from %s: the key is %s", m.From, k.addr)
	}
	sig, err := k.Sign(m.Cid().Bytes())
	if err != nil {
		return nil, err
	}
	return &SignedMessage{Message: *m, Signature: *sig}, nil
}

// Verify checks that the message's sender, a key address, signed it.
func (s *SignedMessage) Verify() error {
	return VerifySignature(&s.Signature, s.Message.From, s.Message.Cid().Bytes())
}

// VerifySignature checks a signature of data by the key address signer. Its errors wrap ErrSignature.
func VerifySignature(sig *crypto.Signature, signer address.Address, data []byte) error {
	var err error
	switch {
	case sig.Type == crypto.SigTypeSecp256k1 && signer.Protocol() == address.SECP256K1:
		err = verifySecp256k1(sig.Data, signer, data)
	case sig.Type == crypto.SigTypeBLS && signer.Protocol() == address.BLS:
		err = verifyBLS(sig.Data, signer, data)
	default:
		err = fmt.Errorf("signature of type %d does not fit the address", sig.Type)
	}
	if err != nil {
		return fmt.Errorf("%w: %w: signer %s", ErrSignature, err, signer)
	}
	return nil
}

// compactHeader is what SEC compact signatures add to the recovery id in their first byte.
const compactHeader = 27

func verifySecp256k1(sig []byte, signer address.Address, data []byte) error {
	if len(sig) != 65 {
		return fmt.Errorf("secp256k1 signature of %d bytes, not 65", len(sig))
	}
	if sig[64] > 3 {
		return fmt.Errorf("secp256k1 recovery id %d", sig[64])
	}
	digest := blake2b.Sum256(data)
	compact := append([]byte{sig[64] + compactHeader}, sig[:64]...)
	pub, _, err := ecdsa.RecoverCompact(compact, digest[:])
	if err != nil {
		return err
	}
	recovered, err := address.NewSecp256k1Address(pub.SerializeUncompressed())
	if err != nil {
		return err
	}
	if recovered != signer {
		return errors.New("another key signed")
	}
	return nil
}

func verifyBLS(sig []byte, signer address.Address, data []byte) error {
	var pub, base bls12381.G1Affine
	if _, err := pub.SetBytes(signer.Payload()); err != nil {
		return err
	}
	var point bls12381.G2Affine
	if n, err := point.SetBytes(sig); err != nil || n != len(sig) {
		return errors.Join(fmt.Errorf("bls signature of %d bytes is no point", len(sig)), err)
	}
	if pub.IsInfinity() || point.IsInfinity() {
		return errors.New("bls point at infinity")
	}
	hashed, err := bls12381.HashToG2(data, blsDomain)
	if err != nil {
		return err
	}
	_, _, g1, _ := bls12381.Generators()
	base.Neg(&g1)
	ok, err := bls12381.PairingCheck([]bls12381.G1Affine{base, pub}, []bls12381.G2Affine{point, hashed})
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("bls signature failed to verify")
	}
	return nil
}
