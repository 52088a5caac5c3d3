// The list of block formats: add a name here, and the file that defines it (docs/dev/adding.md). It can be included in
// two ways: for the macro, and, with INTACT_DEFINE_FORMATS, for the definitions, inside an anonymous namespace.
#if defined(INTACT_DEFINE_FORMATS)

#    include "formats/definition.inl"
#    include "formats/iq_grids.inl"

#    include "formats/iq1.inl"
#    include "formats/iq2.inl"
#    include "formats/iq3.inl"
#    include "formats/iq4.inl"
#    include "formats/mxfp4.inl"
#    include "formats/q2_k.inl"
#    include "formats/q3_k.inl"
#    include "formats/q4.inl"
#    include "formats/q45_k.inl"
#    include "formats/q5.inl"
#    include "formats/q6_k.inl"
#    include "formats/q8.inl"
#    include "formats/tq.inl"

#elif !defined(INTACT_BLOCK_FORMATS)

// clang-format off
#define INTACT_BLOCK_FORMATS(X) \
    X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) \
    X(IQ1_S) X(IQ1_M) X(IQ2_XXS) X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S) \
    X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) \
    X(IQ4_NL) X(IQ4_XS) X(MXFP4) X(TQ1_0) X(TQ2_0)
// clang-format on

#endif
