//go:build !purego

#include "textflag.h"

// FETCH asks for label number i of the list at CX, in the layer at AX.
#define FETCH(i) \
	MOVL i*4(CX), DX \
	SHLQ $5, DX      \
	PREFETCHT0 (AX)(DX*1)

// func prefetchBase(labels unsafe.Pointer, parents *[Parents]uint32)
TEXT ·prefetchBase(SB), NOSPLIT, $0-16
	MOVQ labels+0(FP), AX
	MOVQ parents+8(FP), CX
	FETCH(0)
	FETCH(1)
	FETCH(2)
	FETCH(3)
	FETCH(4)
	FETCH(5)
	RET

// func prefetchExpander(labels unsafe.Pointer, parents *[Parents]uint32)
TEXT ·prefetchExpander(SB), NOSPLIT, $0-16
	MOVQ labels+0(FP), AX
	MOVQ parents+8(FP), CX
	FETCH(6)
	FETCH(7)
	FETCH(8)
	FETCH(9)
	FETCH(10)
	FETCH(11)
	FETCH(12)
	FETCH(13)
	RET
