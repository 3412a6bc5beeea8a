package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// matrix is square, row after row.
type matrix struct {
	n int
	e fr.Vector
}

func newMatrix(n int) matrix { return matrix{n, make(fr.Vector, n*n)} }

// cauchy is Filecoin's MDS matrix, 1/(i + t + j).
func cauchy(t int) matrix {
	m := newMatrix(t)
	for i := range t {
		for j := range t {
			e := &m.row(i)[j]
			e.SetUint64(uint64(i + t + j))
			e.Inverse(e)
		}
	}
	return m
}

func (m matrix) row(i int) fr.Vector        { return m.e[i*m.n : (i+1)*m.n] }
func (m matrix) at(i, j int) fr.Element     { return m.e[i*m.n+j] }
func (m matrix) set(i, j int, v fr.Element) { m.e[i*m.n+j] = v }

// apply gives m·v.
func (m matrix) apply(v fr.Vector) fr.Vector {
	out := make(fr.Vector, m.n)
	for i := range out {
		row := m.row(i)
		out[i] = row.InnerProduct(v)
	}
	return out
}

func (m matrix) mul(o matrix) matrix {
	out, cols := newMatrix(m.n), o.transpose()
	for i := range m.n {
		copy(out.row(i), cols.apply(m.row(i)))
	}
	return out
}

func (m matrix) transpose() matrix {
	out := newMatrix(m.n)
	for i := range m.n {
		for j := range m.n {
			out.set(j, i, m.at(i, j))
		}
	}
	return out
}

// minor drops the first row and column.
func (m matrix) minor() matrix {
	out := newMatrix(m.n - 1)
	for i := range out.n {
		copy(out.row(i), m.row(i + 1)[1:])
	}
	return out
}

// bordered is diag(1, m).
func (m matrix) bordered() matrix {
	out := newMatrix(m.n + 1)
	out.e[0].SetOne()
	for i := range m.n {
		copy(out.row(i + 1)[1:], m.row(i))
	}
	return out
}

// inverse is by Gauss and Jordan without pivoting: every leading minor of the
// matrices that occur here is regular, which the known answers confirm.
func (m matrix) inverse() matrix {
	left, right := newMatrix(m.n), newMatrix(m.n)
	copy(left.e, m.e)
	for i := range m.n {
		right.row(i)[i].SetOne()
	}
	scaled := make(fr.Vector, m.n)
	for p := range m.n {
		pivot := left.at(p, p)
		pivot.Inverse(&pivot)
		for _, side := range []matrix{left, right} {
			row := side.row(p)
			row.ScalarMul(row, &pivot)
		}
		for i := range m.n {
			if i == p {
				continue
			}
			factor := left.at(i, p)
			for _, side := range []matrix{left, right} {
				row := side.row(i)
				scaled.ScalarMul(side.row(p), &factor)
				row.Sub(row, scaled)
			}
		}
	}
	return right
}
