// Package fr32 spreads raw bytes over field elements: 127 bytes become 128, in which
// every 32 bytes hold 254 bits and two zero bits at the top.
package fr32

import "encoding/binary"

// Raw and Padded are the sizes of one unit in bytes.
const (
	Raw    = 127
	Padded = 128
)

// mask clears the two bits that padding adds to the top word of an element.
const mask = 1<<62 - 1

// Pad spreads src over dst. src must be whole units and dst exactly as many.
func Pad(dst, src []byte) {
	check(dst, src)
	for ; len(src) > 0; dst, src = dst[Padded:], src[Raw:] {
		padUnit((*[Padded]byte)(dst), (*[Raw]byte)(src))
	}
}

// Unpad undoes [Pad]: dst must have room for exactly the units of src.
func Unpad(dst, src []byte) {
	check(src, dst)
	for ; len(src) > 0; dst, src = dst[Raw:], src[Padded:] {
		unpadUnit((*[Raw]byte)(dst), (*[Padded]byte)(src))
	}
}

func check(padded, raw []byte) {
	if len(raw)%Raw != 0 || len(padded)/Padded != len(raw)/Raw || len(padded)%Padded != 0 {
		panic("fr32: buffers are not the same number of whole units")
	}
}

func padUnit(dst *[Padded]byte, src *[Raw]byte) {
	var w, o [16]uint64
	for i := range 15 {
		w[i] = binary.LittleEndian.Uint64(src[8*i:])
	}
	w[15] = binary.LittleEndian.Uint64(src[Raw-8:]) >> 8

	copy(o[:4], w[:4])
	for i := range 4 {
		o[4+i] = w[3+i]>>62 | w[4+i]<<2
		o[8+i] = w[7+i]>>60 | w[8+i]<<4
		o[12+i] = w[11+i]>>58 | w[12+i]<<6
	}
	for i := 3; i < 16; i += 4 {
		o[i] &= mask
	}
	for i := range o {
		binary.LittleEndian.PutUint64(dst[8*i:], o[i])
	}
}

func unpadUnit(dst *[Raw]byte, src *[Padded]byte) {
	var o, w [16]uint64
	for i := range o {
		o[i] = binary.LittleEndian.Uint64(src[8*i:])
	}
	copy(w[:4], o[:4])
	for i := range 4 {
		w[3+i] |= o[4+i] << 62
		w[4+i] = o[4+i] >> 2
	}
	for i := range 4 {
		w[7+i] |= o[8+i] << 60
		w[8+i] = o[8+i] >> 4
	}
	for i := range 4 {
		w[11+i] |= o[12+i] << 58
		w[12+i] = o[12+i] >> 6
	}
	// The last word has 56 bits: shifted up by a byte it ends with the unit, and the
	// word before then overwrites the byte below.
	binary.LittleEndian.PutUint64(dst[Raw-8:], w[15]<<8)
	for i := range 15 {
		binary.LittleEndian.PutUint64(dst[8*i:], w[i])
	}
}
