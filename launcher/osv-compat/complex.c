/* Complex functions that libOpenFOAM refers to and OSv does not have. Formulas: cexp, clog, csqrt and the hyperbolic
 * sine and cosine from their definitions; ctanh and the inverse functions after W. Kahan, "Branch cuts for complex
 * elementary functions", 1987. Infinities and NaN are not treated apart, as annex G of ISO C would. */
#include <complex.h>
#include <math.h>

/* The operators: the kernel has neither creal nor cimag. */
static double re(double complex z) {
    return __real__ z;
}

static double im(double complex z) {
    return __imag__ z;
}

static double complex make(double real, double imaginary) {
    return CMPLX(real, imaginary);
}

/* i z and -i z, without the rounding and the NaN of a product. */
static double complex turn(double complex z) {
    return make(-im(z), re(z));
}

static double complex turn_back(double complex z) {
    return make(im(z), -re(z));
}

double complex cexp(double complex z) {
    double size = exp(re(z));
    return im(z) == 0 ? make(size, im(z)) : make(size * cos(im(z)), size * sin(im(z)));
}

double complex clog(double complex z) {
    return make(log(hypot(re(z), im(z))), atan2(im(z), re(z)));
}

double complex csqrt(double complex z) {
    double x = re(z), y = im(z);
    if (x == 0 && y == 0)
        return make(0, y);
    /* The larger part by a sum of positive terms, the other by division: nothing cancels. */
    double large = sqrt((fabs(x) + hypot(x, y)) / 2);
    double small = fabs(y) / (2 * large);
    return x >= 0 ? make(large, copysign(small, y)) : make(small, copysign(large, y));
}

double complex csinh(double complex z) {
    return make(sinh(re(z)) * cos(im(z)), cosh(re(z)) * sin(im(z)));
}

double complex ccosh(double complex z) {
    return make(cosh(re(z)) * cos(im(z)), sinh(re(z)) * sin(im(z)));
}

double complex ctanh(double complex z) {
    double x = re(z), y = im(z);
    if (fabs(x) > 22)
        return make(copysign(1, x), 4 * sin(y) * cos(y) * exp(-2 * fabs(x)));
    double t = tan(y), beta = 1 + t * t, s = sinh(x), rho = sqrt(1 + s * s);
    return isinf(t) ? make(rho / s, 1 / t) : make(beta * rho * s / (1 + beta * s * s), t / (1 + beta * s * s));
}

double complex csin(double complex z) {
    return turn_back(csinh(turn(z)));
}

double complex ccos(double complex z) {
    return ccosh(turn(z));
}

double complex ctan(double complex z) {
    return turn_back(ctanh(turn(z)));
}

double complex casin(double complex z) {
    double complex minus = csqrt(make(1 - re(z), -im(z)));
    double complex plus = csqrt(make(1 + re(z), im(z)));
    return make(atan2(re(z), re(minus) * re(plus) - im(minus) * im(plus)),
                asinh(re(minus) * im(plus) - im(minus) * re(plus)));
}

double complex cacos(double complex z) {
    double complex minus = csqrt(make(1 - re(z), -im(z)));
    double complex plus = csqrt(make(1 + re(z), im(z)));
    return make(2 * atan2(re(minus), re(plus)),
                asinh(re(plus) * im(minus) - im(plus) * re(minus)));
}

double complex casinh(double complex z) {
    return turn_back(casin(turn(z)));
}

double complex cacosh(double complex z) {
    double complex minus = csqrt(make(re(z) - 1, im(z)));
    double complex plus = csqrt(make(re(z) + 1, im(z)));
    return make(asinh(re(minus) * re(plus) + im(minus) * im(plus)),
                2 * atan2(im(minus), re(plus)));
}

double complex catanh(double complex z) {
    double x = re(z), y = im(z);
    return make(log1p(4 * x / ((1 - x) * (1 - x) + y * y)) / 4, atan2(2 * y, (1 - x) * (1 + x) - y * y) / 2);
}

double complex catan(double complex z) {
    return turn_back(catanh(turn(z)));
}
