// include words.wgsl
// Division, roots, and the functions of docs/spec/numerics.md, section 2.

// (quotient, remainder) of (h, l) by d, h < d: Knuth's algorithm D in base 2^16; two divisions of words.
fn div(h0: u32, l0: u32, d0: u32) -> vec2<u32> {
    let s = countLeadingZeros(d0);
    let d = d0 << s; let n = left(W(l0, h0), s); let h = n.y; let l = n.x;
    let d1 = d >> 16u; let dl = d & 0xffffu;
    var q1 = h / d1; var r = h - q1 * d1;
    if (q1 >= 0x10000u || q1 * dl > ((r << 16u) | (l >> 16u))) {
        q1 -= 1u; r += d1;
        if (r < 0x10000u && (q1 >= 0x10000u || q1 * dl > ((r << 16u) | (l >> 16u)))) { q1 -= 1u; }
    }
    let m = ((h << 16u) | (l >> 16u)) - q1 * d; // modulo 2^32
    var q2 = m / d1; r = m - q2 * d1;
    if (q2 >= 0x10000u || q2 * dl > ((r << 16u) | (l & 0xffffu))) {
        q2 -= 1u; r += d1;
        if (r < 0x10000u && (q2 >= 0x10000u || q2 * dl > ((r << 16u) | (l & 0xffffu)))) { q2 -= 1u; }
    }
    return vec2<u32>((q1 << 16u) + q2, (((m << 16u) | (l & 0xffffu)) - q2 * d) >> s);
}
fn divide(a: W, d: u32) -> W { // floor, a >= 0
    let h = a.y / d;
    return W(div(a.y - h * d, a.x, d).x, h);
}

fn root32(a: u32) -> u32 { // floor of the square root, bit by bit
    var r = 0u; var left = a; var bit = 1u << 30u;
    for (var i = 0; i < 16; i++) {
        if (left >= r + bit) { left -= r + bit; r = (r >> 1u) + bit; } else { r = r >> 1u; }
        bit = bit >> 2u;
    }
    return r;
}
fn root64(a: W) -> u32 { // floor, a.y >= 2^30: the root of the high word, a division, one correction (Zimmermann)
    let s = root32(a.y); let rest = a.y - s * s; // at most 2s
    let d = div(rest >> 16u, (rest << 16u) | (a.x >> 16u), 2u * s);
    let u = W((d.y << 16u) | (a.x & 0xffffu), d.y >> 16u);
    return (s << 16u) + d.x - select(0u, 1u, less_u(u, mul_u(d.x, d.x)));
}
struct Root { r: u32, p: i32 }
fn inverse_root(v: W) -> Root { // 1 <= v < 2^62
    let p = (62 - bits(v)) / 2;
    let root = root64(left(v, u32(2 * p + 2))) >> 1u;
    return Root(div(0x20000000u, 0u, root).x, p);
}

fn horner(a: i32, f: u32) -> i32 { // rshift(a f, 16), |a| <= 2^30, f < 2^16: two products of words
    return (a >> 16u) * i32(f) + i32(((u32(a) & 0xffffu) * f + 0x8000u) >> 16u);
}
fn exp2neg(t: u32) -> u32 { // Q16 to Q30: f has 14 low zero bits, so rshift(acc f, 30) is rshift(acc (f >> 14), 16)
    let n = t >> 16u; let f = t & 0xffffu;
    if (n >= 31u) { return 0u; }
    let e = u32(horner(horner(horner(horner(horner(-1014583, f) + 9884650, f) - 59375086, f) + 257891465, f) - 744257403, f) + 1073741824);
    return select((e + (1u << (max(n, 1u) - 1u))) >> n, e, n == 0u);
}
fn sigmoid(x: i32) -> u32 {
    let t = rshift(mul_u(size32(x), 1549082005u), 30).x; // below 2^32
    let p = div(0x10000000u, 0u, 0x40000000u + exp2neg(t)).x;
    return select(p, 0x40000000u - p, x < 0);
}
fn soft_cap(x: i32, slope: u32, limit: u32) -> i32 { // slope is 2 / cap in Q24, limit the cap in Q16
    var scaled = mul_u(size32(x), slope);
    if (x < 0) { scaled = negate(scaled); }
    let share = sigmoid(sat32(rshift(scaled, 24)));
    return i32(rshift(mul_u(limit, share), 29).x) - i32(limit);
}
