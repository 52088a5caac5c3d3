// include batch.wgsl
// Section 6: the rotation of a head in place. The angles of a rotation follow those of the rotations before it.
struct Rotate {
    buffer: u32,
    heads: u32,       // 0: nothing is rotated
    width: u32,
    half: u32,        // pairs
    before: u32,      // pairs of the rotations before this one
    interleaved: u32,
}
fn rotate_head(p: Rotate, row: u32, head: u32, i: u32) {
    let at = row * batch.row_words + p.buffer + head * p.width;
    let angles = batch.angles + 2u * (batch.rows * p.before + row * p.half);
    for (var k = i; k < p.half; k += LANES) {
        let first = at + select(k, 2u * k, p.interleaved != 0u);
        let second = first + select(p.half, 1u, p.interleaved != 0u);
        let sine = i32(batch.data[angles + 2u * k]);
        let cosine = i32(batch.data[angles + 2u * k + 1u]);
        let a = i32(rows[first]);
        let b = i32(rows[second]);
        rows[first] = u32(sat32(rshift(minus(mul(a, cosine), mul(b, sine)), 30)));
        rows[second] = u32(sat32(rshift(plus(mul(a, sine), mul(b, cosine)), 30)));
    }
}
