// 64-bit integers as two 32-bit words: x low, y high, two's complement. rshift, shift and sat32 are those of
// docs/spec/numerics.md. No shader uses a shift by 32 or more, a signed division or -2^31.
alias W = vec2<u32>;
const TOP = 2147483647;

fn wide(a: i32) -> W { return W(u32(a), u32(a >> 31u)); }
fn negative(a: W) -> bool { return (a.y >> 31u) != 0u; }
fn plus(a: W, b: W) -> W { let l = a.x + b.x; return W(l, a.y + b.y + select(0u, 1u, l < a.x)); }
fn minus(a: W, b: W) -> W { return W(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x)); }
fn negate(a: W) -> W { return minus(W(0u, 0u), a); }
fn size(a: W) -> W { if (negative(a)) { return negate(a); } return a; }
fn less(a: W, b: W) -> bool { return i32(a.y) < i32(b.y) || (a.y == b.y && a.x < b.x); }
fn less_u(a: W, b: W) -> bool { return a.y < b.y || (a.y == b.y && a.x < b.x); }
fn size32(a: i32) -> u32 { return select(u32(a), 0u - u32(a), a < 0); }
fn bits32(a: u32) -> i32 { return 32 - i32(countLeadingZeros(a)); }
fn bits(a: W) -> i32 { if (a.y != 0u) { return 32 + bits32(a.y); } return bits32(a.x); }

// The product of two words: four products of halves, none of whose sums passes 2^32.
fn mul_u(a: u32, b: u32) -> W {
    let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u;
    let p = al * bl; let q = al * bh; let r = ah * bl;
    let mid = (p >> 16u) + (q & 0xffffu) + (r & 0xffffu);
    return W((p & 0xffffu) | (mid << 16u), ah * bh + (q >> 16u) + (r >> 16u) + (mid >> 16u));
}
fn mul(a: i32, b: i32) -> W {
    let p = mul_u(u32(a), u32(b));
    return W(p.x, p.y - select(0u, u32(b), a < 0) - select(0u, u32(a), b < 0));
}

fn left(a: W, s: u32) -> W {
    if (s == 0u) { return a; }
    if (s >= 64u) { return W(0u, 0u); }
    if (s >= 32u) { return W(0u, a.x << (s - 32u)); }
    return W(a.x << s, (a.y << s) | (a.x >> (32u - s)));
}
fn right(a: W, s: u32) -> W { // arithmetic
    if (s == 0u) { return a; }
    let sign = u32(i32(a.y) >> 31u);
    if (s >= 64u) { return W(sign, sign); }
    if (s >= 32u) { return W(u32(i32(a.y) >> (s - 32u)), sign); }
    return W((a.x >> s) | (a.y << (32u - s)), u32(i32(a.y) >> s));
}
fn rshift(a: W, s: i32) -> W {
    if (s <= 0) { return a; }
    if (s >= 63) { return W(0u, 0u); }
    return right(plus(a, left(W(1u, 0u), u32(s - 1))), u32(s));
}
fn rshift32(a: i32, s: u32) -> i32 { // 1 <= s <= 31 and |a| + 2^(s-1) < 2^31
    return (a + (1i << (s - 1u))) >> s;
}
fn sat32(a: W) -> i32 {
    if (a.y == u32(i32(a.x) >> 31u)) { return max(i32(a.x), -TOP); }
    return select(TOP, -TOP, negative(a));
}
fn shift(a: W, s: i32) -> W {
    if (s >= 0) { return rshift(a, s); }
    return left(wide(sat32(a)), u32(min(-s, 31)));
}
fn clip(a: W, log2: u32) -> W { // to +-2^log2, 32 <= log2 <= 62
    let most = W(0u, 1u << (log2 - 32u));
    if (less(most, a)) { return most; }
    let least = negate(most);
    if (less(a, least)) { return least; }
    return a;
}
