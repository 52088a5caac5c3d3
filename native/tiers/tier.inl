// One tier: included by tier_<name>.cpp after its simd header. The build defines INTACT_TIER, the tier's name, and
// compiles that file several times: once for each part of the products (INTACT_PRODUCTS), once for all other kernels.
#ifdef INTACT_PRODUCTS
#    include "tiers/products.inl"
#else
#    include "tiers/kernels.inl"
#endif
